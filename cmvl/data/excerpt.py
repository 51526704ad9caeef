"""Part of a long video file, frame after frame, without decoding all that lies before it."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av

from cmvl.data.container import film, open_media

Span = tuple[float, float]  # seconds after the first frame, the end excluded
Timed = tuple[Fraction, av.VideoFrame]  # second after the first frame, and the frame
EARLY = 1.0  # seconds: pictures just before a key frame may need what is before it
COUNTED = ("avi", "mpeg")  # containers that state few times: the others would be guesses


def frames_between(source: str, span: Span) -> Iterator[av.VideoFrame]:
    """The frames of `span`, to half a frame, their times counted from the first of them.

    Raises VideoError, and what PyAV does.
    """
    with open_media(source) as reader:
        stream = film(source, reader)
        half, first = 1 / (2 * _rate(stream)), None
        for second, frame in _from(source, reader, stream, span[0]):
            if second >= span[1] - half:
                return
            if second >= span[0] - half:
                first = second if first is None else first
                frame.pts = round((second - first) / frame.time_base)
                yield frame


def _from(source: str, reader: Any, stream: Any, start: float) -> Iterator[Timed]:
    """Frames from some second before `start` on, or from the first."""
    origin = None
    if reader.format.name not in COUNTED:
        first = next(reader.decode(stream), None)
        origin = first.pts if first else None
    if start > EARLY and origin is not None:
        reader.seek(origin + int((start - EARLY) / stream.time_base), stream=stream)
        frames = _timed(reader.decode(stream), stream, origin)
        begun = next(frames, None)
        # Some containers take one too far, or do not say where.
        if begun and begun[0] <= start and begun[1].pts is not None:
            yield begun
            yield from frames
            return
    with open_media(source) as anew:
        stream = film(source, anew)
        yield from _timed(anew.decode(stream), stream, origin)


def _timed(frames: Iterable[av.VideoFrame], stream: Any, origin: int | None) -> Iterator[Timed]:
    """`origin`: the time of the first frame; None: frames are counted by the rate."""
    for number, frame in enumerate(frames):
        counted = origin is None or frame.pts is None
        yield number / _rate(stream) if counted else (frame.pts - origin) * stream.time_base, frame


def _rate(stream: Any) -> Fraction:
    return stream.average_rate or Fraction(30)
