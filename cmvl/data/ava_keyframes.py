"""Key frames: the items of a detection data set, and the seconds around one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cmvl.data.ava_frames import Places

Seconds = NDArray[np.int64]


@dataclass
class KeyFrames:
    """(video, second) of every item, sorted; a video is a number of the box table."""

    list_file: str
    names: list[str]
    places: Places
    video: NDArray[np.int64]
    second: Seconds
    boxes: str = ""  # a text that is another where the boxes or their actions are others
    class_names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.video)

    def path(self, i: int) -> str:
        return self.places.path(int(self.video[i]))

    @cached_property
    def fingerprint(self) -> str:
        """Equal where two machines have the same key frames and boxes."""
        names = "\n".join([*self.names, self.boxes])
        parts = [names.encode(), self.video.tobytes(), self.second.tobytes()]
        return hashlib.sha256(b"\n".join(parts)).hexdigest()

    def where(self, i: int) -> str:
        return f"{self.names[self.video[i]]} at second {self.second[i]}"


@dataclass(frozen=True)
class Window:
    """The 2w + 1 seconds around one, `stride` apart, within a range."""

    w: int
    stride: int

    def around(self, t: Seconds, first: Seconds, last: Seconds) -> Seconds:
        """t (F,) -> (F, 2w + 1)."""
        steps = np.arange(-self.w, self.w + 1) * self.stride
        return np.clip(t[:, None] + steps, first[:, None], last[:, None])
