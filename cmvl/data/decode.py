"""Frames of a video file by number (PyAV), exact and with as little decoding as that allows.

A file is opened once. Its packets are read, which is cheap, and give the number of every frame
(`packets.py`); then only the key-frame runs that hold asked frames are decoded, and only asked
frames become RGB. Frame k is bit for bit the k-th frame of a decode from start to end. While a
video is open its compressed packets are in memory. One decoding thread: parallelism belongs to the
loader's workers.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from cmvl.data.container import BROKEN, damage, failure, film, open_container
from cmvl.data.packets import is_droppable, nal_length_size, runs, shown_times
from cmvl.data.planes import Planes
from cmvl.data.sampling import Floats, frames_at
from cmvl.utils.errors import VideoError

Frame = NDArray[np.uint8]  # (height, width, 3), RGB

FALLBACK_FPS = 30.0  # of files that state no frame rate


@dataclass(frozen=True)
class VideoInfo:
    """`frames` is exact; height and width are those of the upright picture."""

    frames: int
    fps: float
    height: int
    width: int


def probe(path: str | os.PathLike) -> VideoInfo:
    """Number of frames, rate and size of a video file. Raises VideoError."""
    with open_video(path) as video:
        return video.info


@contextmanager
def open_video(path: str | os.PathLike) -> Iterator["Video"]:
    """The video of a file, closed at the end of the block. Raises VideoError."""
    path = os.fspath(path)
    container = open_container(path)
    try:
        yield Video(path, container)
    finally:
        container.close()  # left to the garbage collector, files and memory pile up


class Video:
    """An open video: its `info` and its frames. Made by `open_video`.

    `times`: the pts of frame 0, 1, 2 ... in units of `time_base`, None where the packets do not
    tell. `bits`: of a colour value.
    """

    def __init__(self, path: str, container: Any):
        self.path = path
        stream = film(path, container)
        self.stream, self.time_base = stream.index, stream.time_base
        self._codec = stream.codec_context
        with damage(path, "its packets cannot be read"):
            # An empty packet means 'end' to the decoder; some containers hold them for repeats.
            self.packets = [p for p in container.demux(stream) if p.size]
        self.times = shown_times(self.packets, container.format.name, self._codec.name)
        self.length_size = nal_length_size(self._codec.name, self._codec.extradata)
        self._reformatter = VideoReformatter()
        self._begun: tuple[int, list[av.VideoFrame]] = 0, []  # packets fed, frames that came
        self.info = self._inspect(stream)

    def frames(
        self, indices: Iterable[int], size: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, Frame]]:
        """Each asked frame once as (number, RGB picture), in no promised order.

        One at a time, so that a large video needs no large memory. `size` (height, width):
        resized while converting, bilinear. Raises VideoError if a frame is missing or damaged.
        """
        for k, frame in self._numbered(self._wanted(indices)):
            with damage(self.path, f"frame {k} cannot be converted to RGB"):
                picture = self._rgb(frame, size)
            yield k, picture

    def pictures(self, indices: Iterable[int]) -> Iterator[tuple[int, Frame | Planes]]:
        """As `frames`, but unconverted where a crop of it is had more cheaply so."""
        for k, frame in self._numbered(self._wanted(indices)):
            same = (frame.height, frame.width) == (self._height, self._width)
            with damage(self.path, f"frame {k} cannot be converted to RGB"):
                plain = same and self._quarter_turns == 0 and Planes.can_hold(frame)
                picture = Planes(frame, self._rgb) if plain else self._rgb(frame)
            yield k, picture

    def at(self, seconds: Floats) -> NDArray[np.int64]:
        """Frames nearest to these seconds after the first one; by the rate beyond the ends, and
        where the times of frames are not known."""
        if not self.times:
            return frames_at(seconds, self.info.fps)
        ticks = np.array(self.times) - self.times[0]
        return frames_at(seconds, self.info.fps, ticks * float(self.time_base))

    def last_second(self) -> int:
        """The full second that the last frame is at or after."""
        if not self.times:
            return int((self.info.frames - 1) / self.info.fps)
        return int((self.times[-1] - self.times[0]) * self.time_base)

    def read(self, indices: Iterable[int], size: tuple[int, int] | None = None) -> Frame:
        """The asked frames, sorted and each once: uint8 (len(unique), height, width, 3)."""
        pictures = dict(self.frames(indices, size))
        height, width = size or (self.info.height, self.info.width)
        result = np.empty((len(pictures), height, width, 3), np.uint8)
        for row, k in zip(result, sorted(pictures), strict=True):
            row[:] = pictures[k]
        return result

    def _wanted(self, indices: Iterable[int]) -> set[int]:
        wanted = {int(k) for k in indices}
        outside = sorted(k for k in wanted if not 0 <= k < self.info.frames)
        if outside:
            raise VideoError(
                f"{self.path}: expected frame {outside[0]}, found frames 0..{self.info.frames - 1}"
            )
        return wanted

    def _inspect(self, stream: Any) -> VideoInfo:
        """Count, and decode the first frame: only it knows the rotation."""
        with damage(self.path, "it cannot be decoded"):
            frame = self._begin()
            count = sum(1 for _ in self._decode(self.packets)) if self.times is None else None
        if frame is None:
            raise VideoError(
                f"{self.path}: expected frames, found none in {len(self.packets)} packets"
            )
        self._height, self._width = frame.height, frame.width
        self._quarter_turns = round(frame.rotation / 90) % 4
        self.bits = max(part.bits for part in frame.format.components)
        size = (self._height, self._width)
        height, width = size[::-1] if self._quarter_turns % 2 else size
        count = len(self.times) if count is None else count
        fps = stream.average_rate or stream.guessed_rate or FALLBACK_FPS
        return VideoInfo(count, float(fps), height, width)

    def _begin(self) -> av.VideoFrame | None:
        """The first frame of the stream; a run from its start goes on from here."""
        self._codec.flush_buffers()
        for fed, packet in enumerate(self.packets, 1):
            if frames := self._codec.decode(packet):
                self._begun = fed, frames
                return frames[0]
        return next(iter(self._codec.decode(None)), None)

    def _decode(
        self, packets: Iterable[av.Packet], begun: Iterable[av.VideoFrame] = ()
    ) -> Iterator[av.VideoFrame]:
        """Of a run's packets. `begun`: frames that the decoder has given of it; it goes on."""
        self._begun = 0, []
        if not begun:
            self._codec.flush_buffers()
        yield from begun
        for packet in packets:
            yield from self._codec.decode(packet)
        yield from self._codec.decode(None)

    def _numbered(self, wanted: set[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        if self.times is None:
            marks = {k: k for k in wanted}
        else:
            marks = {self.times[k]: k for k in wanted}
            yield from self._from_runs(marks)
        if marks:
            yield from self._from_start(marks)

    def _from_runs(self, marks: dict[int, int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode the runs that hold the times `marks`, and take out of `marks` what comes.

        What a run cannot give, for damage or a key frame that cannot be entered, is left there.
        """
        for start, stop in runs(self.packets, set(marks), self.length_size):
            fed, begun = self._begun if start == 0 else (start, [])
            needed = (
                packet
                for packet in self.packets[fed:stop]
                if packet.pts in marks or not is_droppable(packet, self.length_size)
            )
            try:
                for frame in self._decode(needed, begun):
                    if frame.is_corrupt:
                        break
                    if frame.pts in marks:
                        yield marks.pop(frame.pts), frame
            except BROKEN:
                continue

    def _from_start(self, marks: dict[int, int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode the stream from its first packet until every one of `marks` has come."""
        try:
            for i, frame in enumerate(self._decode(self.packets)):
                k = marks.pop(i if self.times is None else frame.pts, None)
                if k is not None and frame.is_corrupt:
                    raise VideoError(f"{self.path}: frame {k} is damaged")
                if k is not None:
                    yield k, frame
                if not marks:
                    return
        except VideoError:
            raise
        except BROKEN as error:
            raise failure(self.path, f"frame {min(marks.values())} is lost", error) from error
        raise VideoError(
            f"{self.path}: expected {self.info.frames} frames, but frame {min(marks.values())} "
            "did not come out of the decoder; the file is damaged or cut off"
        )

    def _rgb(self, frame: av.VideoFrame, size: tuple[int, int] | None = None) -> Frame:
        turned = self._quarter_turns % 2 == 1
        # A stream may change its size midway; every frame is handed over in that of the first.
        height, width = (size[::-1] if turned else size) if size else (self._height, self._width)
        # Of threads PyAV otherwise starts one per core, for every frame.
        picture = self._reformatter.reformat(
            frame, width, height, format="rgb24", interpolation="BILINEAR", threads=1
        ).to_ndarray()
        if self._quarter_turns == 0:
            return picture
        return np.ascontiguousarray(np.rot90(picture, self._quarter_turns))
