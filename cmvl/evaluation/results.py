"""What a test leaves on disk of its videos: one row a video, all scores, one row a class.

n videos, V clips of each, K classes.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cmvl.utils.errors import DataError
from cmvl.utils.files import whole

Scores = NDArray[np.floating]
SHOWN = 5  # best classes in a row of predictions.csv


@dataclass(frozen=True)
class Listing:
    """What the videos and classes of a test are called."""

    path: Callable[[int], str]  # of the video at a position of the list
    class_names: Sequence[str] = ()  # empty, or K; "" for a class without a name

    def names(self, K: int) -> list[str]:
        """K names; a class without one is called by its number."""
        return [(self.class_names[k] if self.class_names else "") or str(k) for k in range(K)]


class Kept:
    """The scores of a test's videos as they come; afterwards in the order of the list."""

    def __init__(self) -> None:
        self._index: list[int] = []
        self._rows: dict[str, list[NDArray]] = {"labels": [], "videos": [], "clips": []}

    def add(self, index: int, label: Tensor, video: Tensor, clips: Tensor) -> None:
        """label () or (K,); scores (K,) of the video and (V, K) of its clips."""
        self._index.append(index)
        self._rows["labels"].append(label.cpu().numpy())
        self._rows["videos"].append(video.numpy())
        self._rows["clips"].append(clips.float().numpy())

    def paths(self, listing: Listing) -> list[str]:
        return [listing.path(self._index[i]) for i in self._order()]

    def stack(self, name: str) -> NDArray:
        """`labels` (n,) or (n, K), `videos` (n, K) or `clips` (n, V, K); n = 0 raises DataError."""
        if not self._index:
            raise DataError(
                "not one video could be read, so there are no results; `python "
                "tools/check_data.py` says what is wrong with each"
            )
        return np.stack([self._rows[name][i] for i in self._order()])

    def save(self, path: Path, listing: Listing) -> None:
        """paths, labels, class_names, video_scores (n, K) and clip_scores (n, V, K) as .npz."""
        videos = self.stack("videos")
        np.savez(
            path,
            paths=np.array(self.paths(listing)),
            labels=self.stack("labels"),
            class_names=np.array(listing.names(videos.shape[1])),
            video_scores=videos.astype(np.float32),
            clip_scores=self.stack("clips"),
        )

    def _order(self) -> list[int]:
        return np.argsort(self._index, kind="stable").tolist()


def rank(scores: Scores, label: int | None = None) -> NDArray[np.int64]:
    """(K,) classes, the best first; of equal scores the label's comes last, as in the accuracy."""
    return np.lexsort((np.arange(len(scores)) == label, -scores))


def write_predictions(
    path: Path,
    paths: Sequence[str],
    labels: Sequence[str],
    ranks: Sequence[NDArray[np.int64]],
    scores: Scores,
    correct: Sequence[bool],
    names: Sequence[str],
) -> None:
    """Rows path, label, prediction, score, correct, and the five best classes with scores."""
    shown = min(SHOWN, len(names))
    best = [f"{what}{i + 1}" for i in range(shown) for what in ("top", "score")]
    rows = zip(paths, labels, ranks, scores, correct, strict=True)
    write_csv(
        path,
        ["path", "label", "prediction", "score", "correct", *best],
        (
            [video, label, *_pair(order[0], row, names), int(hit)]
            + [cell for k in order[:shown] for cell in _pair(k, row, names)]
            for video, label, order, row, hit in rows
        ),
    )


def _pair(k: int, scores: Scores, names: Sequence[str]) -> tuple[str, str]:
    return names[k], f"{scores[k]:.6f}"


def write_csv(path: Path, header: Sequence[str], rows: Iterator[Sequence]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Paths may hold bytes that are no UTF-8.
    with (
        whole(path) as part,
        part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)
