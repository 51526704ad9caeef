"""A folder of numbered pictures as a video, behind the seam that `open_video` has.

Pictures are read by OpenCV, whole: its reduced JPEG decoding gains a fifth of the time at best and
moves pixels (36.6 dB against a full decode and linear resize).
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from cmvl.data.container import failure
from cmvl.data.decode import VideoInfo, open_video
from cmvl.data.planes import Planes
from cmvl.data.sampling import Floats, frames_at
from cmvl.data.torchcodec_video import open_torchcodec
from cmvl.utils.errors import VideoError

Frame = NDArray[np.uint8]  # (height, width, 3), RGB

DECODERS = {"pyav": open_video, "torchcodec": open_torchcodec}  # DATA.BACKEND
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class FrameSource(Protocol):
    """What a data set asks of an open video: file or folder."""

    path: str
    info: VideoInfo

    def at(self, seconds: Floats) -> NDArray[np.int64]:
        """Frames nearest to these seconds after the first one; beyond the ends by the rate."""

    def frames(self, indices: Iterable[int]) -> Iterator[tuple[int, Frame]]:
        """Each asked frame once as (number, RGB picture), in no promised order."""

    def pictures(self, indices: Iterable[int]) -> Iterator[tuple[int, Frame | Planes]]:
        """The same in the form of which a `View` is cut most cheaply."""


@contextmanager
def open_source(
    path: str, frames: int | None = None, fps: float = 30.0, backend: str = "pyav"
) -> Iterator[FrameSource]:
    """A video file, read by `backend`, or a folder of pictures; raises VideoError.

    Of a folder: `frames` is the number a list says it has (None: says nothing), `fps` the rate,
    which a folder does not tell.
    """
    if os.path.isdir(path):
        yield FrameFolder(path, frames, fps)
    else:
        with DECODERS[backend](path) as video:
            yield video


@dataclass(frozen=True)
class Numbering:
    """The names of a folder's pictures: prefix, number of `digits` digits, suffix."""

    prefix: str
    digits: int
    suffix: str
    first: int
    count: int

    def name(self, k: int) -> str:
        """The name of frame k, counted from 0."""
        return f"{self.prefix}{self.first + k:0{self.digits}d}{self.suffix}"


class FrameFolder:
    """Frames 0, 1, 2 ... are the folder's pictures by their number, wherever that begins."""

    def __init__(self, path: str, frames: int | None = None, fps: float = 30.0):
        self.path = path
        self.numbering = read_numbering(path, frames)
        height, width = self._picture(0).shape[:2]
        self.info = VideoInfo(self.numbering.count, fps, height, width)

    def at(self, seconds: Floats) -> NDArray[np.int64]:
        """Frames at these seconds; pictures have a constant rate."""
        return frames_at(seconds, self.info.fps)

    def frames(self, indices: Iterable[int]) -> Iterator[tuple[int, Frame]]:
        """Each asked frame once, in rising order. Raises VideoError."""
        for k in sorted({int(k) for k in indices}):
            if not 0 <= k < self.info.frames:
                raise VideoError(
                    f"{self.path}: expected frame {k}, found frames 0..{self.info.frames - 1}"
                )
            picture = self._picture(k)
            if picture.shape[:2] != (self.info.height, self.info.width):
                raise VideoError(
                    f"{self.path}/{self.numbering.name(k)}: expected {self.info.height} x "
                    f"{self.info.width} pixels as in the first frame, found "
                    f"{picture.shape[0]} x {picture.shape[1]}"
                )
            yield k, picture

    pictures = frames

    def _picture(self, k: int) -> Frame:
        path = os.path.join(self.path, self.numbering.name(k))
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise failure(path, "expected a picture", error) from error
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if picture is None or _is_cut_off(data):
            raise VideoError(f"{path}: expected a whole picture, found {len(data)} bytes of none")
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def read_numbering(path: str, frames: int | None = None) -> Numbering:
    """How the pictures of a folder are called; they must be numbered without a gap.

    `frames` is the number that a list says. Remembered for as long as the folder does not change.
    Raises VideoError.
    """
    try:
        return _numbering(path, frames, os.stat(path).st_mtime_ns)
    except OSError as error:
        raise failure(path, "expected a folder of pictures", error) from error


@lru_cache(maxsize=1024)
def _numbering(path: str, frames: int | None, changed: int) -> Numbering:
    pictures = (name for name in os.listdir(path) if name.lower().endswith(PICTURES))
    names = {name for name in pictures if not name.startswith(".")}  # as macOS leaves beside them
    parts = [re.fullmatch(r"(.*?)([0-9]+)(\.[a-zA-Z]+)", name) for name in names]
    numbered = {int(match[2]): match for match in parts if match}
    if not numbered:
        raise VideoError(
            f"{path}: expected pictures with a number before {', '.join(PICTURES)}, found "
            f"{', '.join(sorted(os.listdir(path))[:3]) or 'none'}"
        )
    first, last = min(numbered), max(numbered)
    start = numbered[first]
    numbering = Numbering(start[1], len(start[2]), start[3], first, last - first + 1)
    expected = [numbering.name(k) for k in range(numbering.count)]
    gap = next((f"; {name} is missing" for name in expected if name not in names), "")
    if gap or frames not in (None, len(names)):
        says = f"list says {frames} frames" if frames else f"expected frames {first}..{last}"
        raise VideoError(f"{path}: {says}, {len(names)} on disk{gap}")
    if len(names) != numbering.count:
        other = min(names.difference(expected))
        raise VideoError(f"{path}: expected pictures like {numbering.name(0)}, found {other} too")
    return numbering


def _is_cut_off(data: bytes) -> bool:
    """True for a JPEG without its end; OpenCV fills what is missing with grey."""
    return data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < len(data) // 2
