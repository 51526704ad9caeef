"""The rows of an annotation list, held in four arrays.

Not a list of Python objects: reading one changes its reference count, which copies its memory page
into every loader process, so memory would grow with workers and time.
"""

import os
from collections.abc import Sequence

import numpy as np


class Records:
    """`path(i)`, `label(i)` and `where(i)` ("train.csv:812") of every video of a list.

    A relative path is looked for under each of `roots` in turn; "" is the working folder.
    """

    def __init__(
        self,
        list_file: str,
        paths: Sequence[str],
        labels: Sequence[int],
        lines: Sequence[int],
        roots: Sequence[str] = ("",),
    ):
        texts = [path.encode("utf-8", "surrogateescape") for path in paths]
        self.list_file, self.roots = list_file, tuple(roots)
        self._text = b"".join(texts)
        self._ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        self._labels = np.asarray(labels, dtype=np.int64)
        self._lines = np.asarray(lines, dtype=np.int32)

    def __len__(self) -> int:
        return len(self._labels)

    def path(self, i: int) -> str:
        """Where the file is, or, if it is nowhere, the last place where it was looked for."""
        start = self._ends[i - 1] if i else 0
        text = self._text[start : self._ends[i]].decode("utf-8", "surrogateescape")
        places = [os.path.join(root, text) for root in self.roots]
        return next((place for place in places[:-1] if os.path.exists(place)), places[-1])

    def label(self, i: int) -> int:
        return int(self._labels[i])

    def where(self, i: int) -> str:
        return f"{os.path.basename(self.list_file)}:{self._lines[i]}"
