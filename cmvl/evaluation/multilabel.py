"""Mean average precision of videos with several labels, as on Charades.

n videos, K classes; scores and labels are (n, K), labels 0 or 1.
"""

import math
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from cmvl.evaluation.results import Kept, Listing, rank, write_csv, write_predictions
from cmvl.evaluation.views import checked, ensemble
from cmvl.utils.errors import DataError


class MeanAP:
    """mAP in percent, PySlowFast's and the official one; they differ where scores tie.

    Collects score tensors (V, S, K) of V clips x S crops, one video at a time.
    """

    def __init__(self, method: str = "max") -> None:
        """`method`: how views become one, sum or max."""
        self.method, self.kept = method, Kept()

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str = "test") -> "MeanAP":
        return cls(cfg.DATA.ENSEMBLE_METHOD)

    def update(self, scores: Tensor, labels: Tensor, index: int = 0) -> None:
        """scores (V, S, K) of one video, labels (1, K), multi-hot, its place in the list.

        NaN scores raise.
        """
        scores = checked(scores)
        video, clips = (ensemble(scores, self.method, dim) for dim in ((0, 1), (1,)))
        self.kept.add(index, labels[0], video, clips)

    def compute(self) -> dict[str, float]:
        """`mAP` is PySlowFast's; `mAP_official` only if every class has a positive video."""
        scores, labels = self._tensors("videos")
        positives = labels.sum(dim=0)
        if not positives.any():
            raise DataError("mean average precision is of labelled videos: no video has a label")
        metrics = {"mAP": 100 * mean_ap(scores, labels)}
        if positives.all():
            metrics["mAP_official"] = 100 * mean_ap_official(scores, labels)
        return metrics | {"videos": len(scores), "classes": int((positives > 0).sum())}

    def by_position(self) -> list[float]:
        """mAP of the clips at each of the V temporal positions, first to last."""
        clips, labels = self._tensors("clips")
        return [100 * mean_ap(scores, labels) for scores in clips.unbind(1)]

    def save(self, folder: Path, listing: Listing) -> str:
        """predictions.csv, scores.npz and per_class.csv. A prediction is correct if it is one of
        the video's labels."""
        scores, labels = self._tensors("videos")
        names = listing.names(scores.shape[1])
        order = np.stack([rank(row) for row in scores.numpy()])
        write_predictions(
            folder / "predictions.csv",
            self.kept.paths(listing),
            ["; ".join(names[k] for k in row.nonzero().flatten().tolist()) for row in labels],
            order,
            scores.numpy(),
            [bool(row[best]) for row, best in zip(labels, order[:, 0].tolist(), strict=True)],
            names,
        )
        self.kept.save(folder / "scores.npz", listing)
        ours, official = (
            (100 * rule(scores, labels)).tolist()
            for rule in (average_precisions, average_precisions_official)
        )
        count = labels.sum(dim=0).int().tolist()
        show = lambda ap: "n/a" if math.isnan(ap) else f"{ap:.4f}"  # noqa: E731
        rows = zip(
            range(len(names)), names, count, map(show, ours), map(show, official), strict=True
        )
        header = ["id", "name", "videos", "AP", "AP_official"]
        write_csv(folder / "per_class.csv", header, rows)
        known = sorted((ap, name) for ap, name in zip(ours, names, strict=True) if ap == ap)
        told = [", ".join(f"{n} {ap:.1f}" for ap, n in some) for some in (known[:-4:-1], known[:3])]
        return f"best classes: {told[0]}; worst: {told[1]}"

    def _tensors(self, what: str) -> tuple[Tensor, Tensor]:
        """`videos` (n, K) or `clips` (n, V, K), with labels (n, K)."""
        return torch.from_numpy(self.kept.stack(what)), torch.from_numpy(self.kept.stack("labels"))


def mean_ap(scores: Tensor, labels: Tensor) -> float:
    """PySlowFast's (scikit-learn's per class): classes without a positive are left out."""
    return average_precisions(scores, labels).nanmean().item()


def mean_ap_official(scores: Tensor, labels: Tensor) -> float:
    """That of Charades_v1_classify.m: NaN as soon as a class has no positive."""
    return average_precisions_official(scores, labels).mean().item()


def average_precisions(scores: Tensor, labels: Tensor) -> Tensor:
    """(K,), NaN for a class without positive. Equal scores are one threshold, no envelope."""
    scores, order = scores.sort(dim=0, descending=True)
    hits = labels.gather(0, order).double()
    precision = hits.cumsum(0) / _ranks(hits)
    # Every video has the precision at the last one of its score.
    last = torch.ones_like(hits, dtype=torch.bool)
    last[:-1] = scores[1:] != scores[:-1]
    places = torch.where(last, _ranks(hits).long() - 1, len(hits))
    threshold = places.flip(0).cummin(0).values.flip(0)
    return (precision.gather(0, threshold) * hits).sum(0) / hits.sum(0)


def average_precisions_official(scores: Tensor, labels: Tensor) -> Tensor:
    """(K,), NaN for a class without positive. Of equal scores the earlier video comes first.

    The official script loses the scores of a video without labels: it ranks last everywhere.
    """
    labelled = (labels > 0).any(dim=1, keepdim=True)
    scores = scores.masked_fill(~labelled, -torch.inf)
    order = scores.argsort(dim=0, descending=True, stable=True)
    hits = labels.gather(0, order).double()
    return (hits.cumsum(0) / _ranks(hits) * hits).sum(0) / hits.sum(0)


def _ranks(column: Tensor) -> Tensor:
    """1, 2, ... n as (n, K)."""
    return torch.arange(1, len(column) + 1, dtype=torch.float64)[:, None].expand_as(column)
