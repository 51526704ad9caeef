"""The rows of an annotation list, held in a few arrays.

Not a list of Python objects: reading one changes its reference count, which copies its memory page
into every loader process, so memory would grow with workers and time.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cmvl.data.decode import VideoInfo

Row = tuple[int, float, float]  # class, from, to


class Records:
    """`path(i)`, `label(i)` and `where(i)` ("train.csv:812") of every video of a list.

    A relative path is looked for under each of `roots` in turn; "" is the working folder.
    `frames`: the number of frames a list gives for every frame folder. `class_names`: of class
    0, 1 ...; empty where the data set does not tell them.
    """

    class_names: Sequence[str] = ()

    def __init__(
        self,
        list_file: str,
        paths: Sequence[str],
        labels: Sequence[int],
        lines: Sequence[int],
        roots: Sequence[str] = ("",),
        frames: Sequence[int] | None = None,
    ):
        texts = [path.encode("utf-8", "surrogateescape") for path in paths]
        self.list_file, self.roots = list_file, tuple(roots)
        self._text = b"".join(texts)
        self._ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        self._labels = np.asarray(labels, dtype=np.int64)
        self._lines = np.asarray(lines, dtype=np.int32)
        self._frames = None if frames is None else np.asarray(frames, dtype=np.int32)

    def __len__(self) -> int:
        return len(self._lines)

    def path(self, i: int) -> str:
        """Where the file is, or, if it is nowhere, the last place where it was looked for."""
        text = self.listed_path(i)
        places = [os.path.join(root, text) for root in self.roots]
        return next((place for place in places[:-1] if os.path.exists(place)), places[-1])

    def listed_path(self, i: int) -> str:
        """The path as the list has it."""
        start = self._ends[i - 1] if i else 0
        return self._text[start : self._ends[i]].decode("utf-8", "surrogateescape")

    def label(self, i: int) -> int | NDArray[np.float32]:
        return int(self._labels[i])

    def labels_of(self, i: int) -> list[int]:
        """The classes of a video."""
        return [int(self._labels[i])]

    def clip_labels(
        self, i: int, indices: NDArray[np.int64], info: VideoInfo
    ) -> NDArray[np.float32] | None:
        """What holds for clips alone; None where a clip has its video's label."""
        return None

    @cached_property
    def fingerprint(self) -> str:
        """Of names, without folders, and classes: equal where two machines list the same."""
        digest = hashlib.sha256()
        for i in range(len(self)):
            name = os.path.basename(self.listed_path(i).rstrip("/"))
            digest.update(f"{name} {self.labels_of(i)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def frames(self, i: int) -> int | None:
        """The number of frames the list says a frame folder has, if it says one."""
        return None if self._frames is None else int(self._frames[i])

    def line(self, i: int) -> int:
        return int(self._lines[i])

    def where(self, i: int) -> str:
        return f"{os.path.basename(self.list_file)}:{self._lines[i]}"


class MultiLabelRecords(Records):
    """Videos of several classes, each from some time to another.

    `actions`: for each video its rows (class, from, to), in seconds of a video of `lengths`
    seconds, or in frames if `lengths` is None. Labels are multi-hot float32 (K,).
    """

    def __init__(
        self,
        list_file: str,
        paths: Sequence[str],
        actions: Sequence[Sequence[Row]],
        lines: Sequence[int],
        num_classes: int,
        roots: Sequence[str] = ("",),
        lengths: Sequence[float] | None = None,
        frames: Sequence[int] | None = None,
    ):
        super().__init__(list_file, paths, (), lines, roots, frames)
        self.num_classes = num_classes
        rows = [row for video in actions for row in video]
        self._classes = np.array([row[0] for row in rows], dtype=np.int32)
        self._times = np.array([row[1:] for row in rows], dtype=np.float32).reshape(-1, 2)
        self._rows = np.cumsum([0, *(len(video) for video in actions)], dtype=np.int64)
        self._lengths = None if lengths is None else np.asarray(lengths, dtype=np.float32)

    def label(self, i: int) -> NDArray[np.float32]:
        """(K,): every class that occurs anywhere in the video."""
        return self._hot(self._classes[self._slice(i)])

    def labels_of(self, i: int) -> list[int]:
        return sorted({int(k) for k in self._classes[self._slice(i)]})

    def clip_labels(
        self, i: int, indices: NDArray[np.int64], info: VideoInfo
    ) -> NDArray[np.float32]:
        """(N, K): the classes that occur between the first and the last frame of each clip."""
        unit = 1.0 if self._lengths is None else float(self._lengths[i]) / info.frames
        classes, times = self._classes[self._slice(i)], self._times[self._slice(i)]
        clips = zip(indices.min(axis=1) * unit, indices.max(axis=1) * unit, strict=True)
        return np.stack(
            [self._hot(classes[(times[:, 0] <= b) & (times[:, 1] >= a)]) for a, b in clips]
        )

    def _slice(self, i: int) -> slice:
        return slice(self._rows[i], self._rows[i + 1])

    def _hot(self, classes: NDArray[np.int32]) -> NDArray[np.float32]:
        hot = np.zeros(self.num_classes, np.float32)
        hot[classes] = 1
        return hot
