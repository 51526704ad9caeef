"""Accuracy of videos, and of their clips by place in time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from cmvl.evaluation.binary import auc, f1
from cmvl.evaluation.confusion import (
    Matrix,
    confusion,
    draw_confusion,
    worst_pairs,
    write_confusion,
)
from cmvl.evaluation.results import Kept, Listing, rank, write_csv, write_predictions
from cmvl.evaluation.views import checked, ensemble, percent


class TopK:
    """Top-1 and, with more than five classes, top-5, in percent.

    Collects score tensors (V, S, K) of V clips x S crops, one video at a time. A video's score is
    that of its views together; a clip's is that of its crops.
    """

    def __init__(self, method: str = "sum") -> None:
        """`method`: how views become one, sum or max."""
        self.method, self.kept = method, Kept()
        self._ranks: list[Tensor] = []
        self._clip_hits: list[Tensor] = []

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str = "test") -> "TopK":
        return cls(cfg.DATA.ENSEMBLE_METHOD)

    def update(self, scores: Tensor, labels: Tensor, index: int = 0) -> None:
        """scores (V, S, K) of one video, labels (1,), its place in the list. NaN scores raise."""
        scores, label = checked(scores), int(labels)
        video = ensemble(scores, self.method, (0, 1))
        # Of equal scores the label's comes last: a tie never counts as a hit.
        self._ranks.append((video >= video[label]).sum() - 1)
        clips = ensemble(scores, self.method, (1,))
        self._clip_hits.append((clips >= clips[:, label, None]).sum(dim=-1) == 1)
        self._classes = scores.shape[-1]
        self.kept.add(index, labels[0], video, clips)

    def compute(self) -> dict[str, float]:
        """`top1` (and `top5`, or `f1` and `auc`) over videos, `clip_top1` over clips, the count."""
        self.kept.stack("labels")  # raises where there is no video
        ranks = torch.stack(self._ranks)
        metrics = {"top1": percent(ranks < 1)}
        if self._classes > 5:
            metrics["top5"] = percent(ranks < 5)
        if self._classes == 2:
            metrics |= self._of_two()
        return metrics | {"clip_top1": percent(self._hits()), "videos": len(ranks)}

    def _of_two(self) -> dict[str, float]:
        labels, scores = self.kept.stack("labels"), self.kept.stack("videos")
        area = auc(labels, scores)
        return {"f1": f1(confusion(labels, self._order()[:, 0], 2))} | (
            {} if area is None else {"auc": area}
        )

    def _order(self) -> np.ndarray:
        """(n, K) classes of each video, the best first."""
        labels, scores = self.kept.stack("labels"), self.kept.stack("videos")
        return np.stack([rank(s, k) for s, k in zip(scores, labels, strict=True)])

    def by_position(self) -> list[float]:
        """Clip top-1 at each of the V temporal positions, first to last (Figure 4)."""
        return [percent(hits) for hits in self._hits().unbind(1)]

    def save(self, folder: Path, listing: Listing) -> str:
        """predictions.csv, scores.npz, per_class.csv, confusion.csv and .png."""
        kept, names = self.kept, listing.names(self._classes)
        labels, scores = kept.stack("labels"), kept.stack("videos")
        order = self._order()
        write_predictions(
            folder / "predictions.csv",
            kept.paths(listing),
            [names[k] for k in labels],
            order,
            scores,
            order[:, 0] == labels,
            names,
        )
        kept.save(folder / "scores.npz", listing)
        matrix = confusion(labels, order[:, 0], len(names))
        top = (order[:, :5] == labels[:, None]).any(axis=1)
        header = ["name", "videos", "top1", "top5", "predicted", "precision", "mistaken_for"]
        write_csv(
            folder / "per_class.csv", ["id", *header, "times"], _rows(matrix, names, labels, top)
        )
        write_confusion(matrix, names, folder / "confusion.csv")
        draw_confusion(matrix, names).savefig(folder / "confusion.png", bbox_inches="tight")
        pairs = [f"{names[a]} for {names[b]} ({n})" for a, b, n in worst_pairs(matrix, 3)]
        return f"most often mistaken: {', '.join(pairs)}" if pairs else ""

    def _hits(self) -> Tensor:
        return torch.stack(self._clip_hits)


def _rows(
    matrix: Matrix, names: Sequence[str], labels: np.ndarray, top5: np.ndarray
) -> Iterator[list]:
    """A class's videos, how many are right in percent, and what it is taken for most often."""
    share = lambda part, whole: f"{100 * part / whole:.2f}" if whole else "n/a"  # noqa: E731
    for k, name in enumerate(names):
        videos, predicted, right = matrix[k].sum(), matrix[:, k].sum(), matrix[k, k]
        among = share(top5[labels == k].sum(), videos) if len(names) > 5 else "n/a"
        row = [k, name, videos, share(right, videos), among, predicted, share(right, predicted)]
        wrong = np.where(np.arange(len(names)) == k, 0, matrix[k])
        other = int(wrong.argmax())
        yield [*row, names[other], wrong[other]] if wrong[other] else [*row, "", 0]
