"""What the packets of a video stream tell before anything is decoded.

A packet is one coded frame, in decoding order; its pts is the time its frame is shown. Frame k is
the k-th shown one, so the rank of a packet's pts numbers its frame exactly.
"""

from collections.abc import Iterator, Sequence

from av import Packet

# Containers that store a time for every frame. Elsewhere (AVI, FLV, ASF, MPEG streams, raw) the
# demuxer guesses some of them, and VP8 has packets that show nothing.
TIMED_CONTAINERS = frozenset({"mov", "mp4", "matroska", "webm"})
UNTIMED_CODECS = frozenset({"vp8"})


def shown_times(packets: Sequence[Packet], container: str, codec: str) -> list[int] | None:
    """The pts of frame 0, 1, 2 ... or None where only decoding and counting can tell.

    `container`: FFmpeg's name of the format, a comma list. Packets cut away by an edit list are
    not shown and not numbered.
    """
    if codec in UNTIMED_CODECS or TIMED_CONTAINERS.isdisjoint(container.split(",")):
        return None
    times = [packet.pts for packet in packets if not packet.is_discard]
    if not times or None in times or len(set(times)) < len(times):
        return None
    return sorted(times)


def runs(
    packets: Sequence[Packet], wanted: set[int], length_size: int | None = None
) -> list[tuple[int, int]]:
    """Slices (start, stop) of `packets`, each from a key frame on, that hold the wanted pts.

    A frame shown before its key frame (open GOP) may refer to the run before, so its slice starts
    there. Slices do not overlap. `length_size`: see `nal_length_size`.
    """
    slices: list[tuple[int, int]] = []
    before = key = 0
    for i, packet in enumerate(packets):
        if packet.is_keyframe and is_entry(packet, length_size):
            before, key = key, i
        if packet.pts in wanted:
            start = before if packet.pts < packets[key].pts else key
            while slices and start < slices[-1][1]:
                start = min(start, slices.pop()[0])
            slices.append((start, i + 1))
    return slices


def nal_length_size(codec: str, extradata: bytes | None) -> int | None:
    """Bytes of the length before each H.264 unit (MP4, Matroska); None for any other stream."""
    if codec == "h264" and extradata and len(extradata) > 4 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    return None


def is_droppable(packet: Packet, length_size: int | None) -> bool:
    """True if no other frame refers to this one, so that it need not be decoded for them.

    H.264 says so in `nal_ref_idc` of the first slice (ITU-T H.264, 7.4.1), which FFmpeg's
    demuxers do not read; other codecs by a packet flag. `length_size`: see `nal_length_size`.
    """
    if length_size is None:
        return packet.is_disposable
    slices = (unit[0] for unit in _units(packet, length_size) if 1 <= unit[0] & 0x1F <= 5)
    return next(slices, 0x60) & 0x60 == 0


def is_entry(packet: Packet, length_size: int | None) -> bool:
    """False for an H.264 'key' frame from which the picture is only built up (intra refresh).

    Decoding can start at an IDR slice (unit type 5), or where the recovery point message (SEI
    payload 6 in unit type 6; ITU-T H.264, D.2.8) says that 0 frames are needed.
    """
    if length_size is None:
        return True
    for unit in _units(packet, length_size):
        kind = unit[0] & 0x1F
        if kind == 5 or kind == 6 and _recovers_at_once(bytes(unit[1:])):
            return True
    return False


def _units(packet: Packet, length_size: int) -> Iterator[memoryview]:
    """The H.264 units of a packet, none of them empty."""
    data, at = memoryview(packet), 0
    while at + length_size < len(data):
        start = at + length_size
        at = start + int.from_bytes(data[at:start], "big")
        if at > start:
            yield data[start:at]


def _recovers_at_once(messages: bytes) -> bool:
    data = messages.replace(b"\0\0\3", b"\0\0")  # without emulation prevention
    at = 0
    while at + 2 < len(data):
        kind, size, at = data[at], data[at + 1], at + 2
        if kind == 6:
            return data[at] & 0x80 != 0  # the bit 1 codes 0 frames
        while data[at - 1] == 255 and at < len(data):
            size, at = size + data[at], at + 1
        at += size
    return False
