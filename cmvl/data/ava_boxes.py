"""The boxes of every key frame, each once with all its actions, in a few arrays."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cmvl.data.ava_files import NO_ACTION, SECONDS, BoxRows, Frames, read_boxes


class BoxTable:
    """Boxes sorted by key frame, video * SECONDS + second, in a key frame by first mention.

    Rows of a key frame with the same four numbers are one box with several actions. `videos`: the
    names, in alphabetical order; a video goes by its place there.
    """

    def __init__(self, parts: Iterable[BoxRows], frames: Frames, num_classes: int):
        self.num_classes = num_classes
        parts, keys = list(parts), frames.keys()
        frame = np.concatenate([part.frames for part in parts])
        corners = np.concatenate([part.boxes for part in parts])
        action = np.concatenate([part.actions for part in parts])
        self.videos = sorted({keys[i][0] for i in np.unique(frame).tolist()})
        number = {video: i for i, video in enumerate(self.videos)}
        codes = np.array([number.get(v, -1) * SECONDS + int(s) for v, s in keys], np.int64)
        row = np.column_stack([codes[frame], corners])
        _, first, box = np.unique(row, axis=0, return_index=True, return_inverse=True)
        order = np.lexsort((first, codes[frame][first]))
        self._codes = codes[frame][first[order]]
        self._boxes = corners[first[order]]
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        box = place[box.ravel()]
        real = action != NO_ACTION
        by_box = np.argsort(box[real], kind="stable")
        self._actions = action[real][by_box].astype(np.int32)
        counts = np.bincount(box[real], minlength=len(order))
        self._ends = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return len(self._codes)

    @cached_property
    def fingerprint(self) -> str:
        """Equal where two tables have the same boxes with the same actions."""
        parts = [self._codes, self._boxes, self._actions, self._ends]
        return hashlib.sha256(b"\n".join(part.tobytes() for part in parts)).hexdigest()

    def keyframes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(video, second) of every key frame that has boxes, in order."""
        codes = np.unique(self._codes)
        return codes // SECONDS, codes % SECONDS

    def boxes(self, video: int, second: int) -> NDArray[np.float64]:
        """(r, 4), x1, y1, x2, y2 in 0..1; r may be 0."""
        return self._boxes[self._slice(video, second)]

    def labels(self, video: int, second: int) -> NDArray[np.float32]:
        """(r, K) multi-hot; action id c is column c - 1."""
        rows = self._slice(video, second)
        hot = np.zeros((rows.stop - rows.start, self.num_classes), np.float32)
        for r, i in enumerate(range(rows.start, rows.stop)):
            hot[r, self._actions[self._ends[i] : self._ends[i + 1]] - 1] = 1
        return hot

    def _slice(self, video: int, second: int) -> slice:
        code = video * SECONDS + second
        low, high = np.searchsorted(self._codes, [code, code + 1])
        return slice(int(low), int(high))


def read_table(
    truth: Sequence[str], persons: Sequence[str], threshold: float, num_classes: int
) -> BoxTable:
    """From files of annotated boxes, and of detected ones scored `threshold` or more."""
    frames, parts = Frames(), []
    for path in truth:
        parts.append(read_boxes(path, frames, num_actions=num_classes)[0])
    for path in persons:
        rows = read_boxes(path, frames, num_actions=num_classes)[0]
        parts.append(rows.take(rows.values >= threshold))
    return BoxTable(parts, frames, num_classes)
