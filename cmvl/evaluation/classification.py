"""Accuracy of videos, and of their clips by place in time."""

from pathlib import Path

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from cmvl.evaluation.views import checked, ensemble, percent


class TopK:
    """Top-1 and, with more than five classes, top-5, in percent.

    Collects score tensors (V, S, K) of V clips x S crops, one video at a time. A video's score is
    that of its views together; a clip's is that of its crops.
    """

    def __init__(self, method: str = "sum") -> None:
        """`method`: how views become one, sum or max."""
        self.method = method
        self._ranks: list[Tensor] = []
        self._clip_hits: list[Tensor] = []

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str = "test") -> "TopK":
        return cls(cfg.DATA.ENSEMBLE_METHOD)

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """scores (V, S, K) of one video, labels (1,). NaN scores raise."""
        scores, label = checked(scores), int(labels)
        video = ensemble(scores, self.method, (0, 1))
        # Of equal scores the label's comes last: a tie never counts as a hit.
        self._ranks.append((video >= video[label]).sum() - 1)
        clips = ensemble(scores, self.method, (1,))
        self._clip_hits.append((clips >= clips[:, label, None]).sum(dim=-1) == 1)
        self._classes = scores.shape[-1]

    def compute(self) -> dict[str, float]:
        """`top1` (and `top5`) over videos, `clip_top1` over their clips, and the count."""
        ranks = torch.stack(self._ranks)
        metrics = {"top1": percent(ranks < 1)}
        if self._classes > 5:
            metrics["top5"] = percent(ranks < 5)
        return metrics | {"clip_top1": percent(self._hits()), "videos": len(ranks)}

    def by_position(self) -> list[float]:
        """Clip top-1 at each of the V temporal positions, first to last (Figure 4)."""
        return [percent(hits) for hits in self._hits().unbind(1)]

    def save(self, folder: Path) -> str:
        return ""  # the metrics are all

    def _hits(self) -> Tensor:
        return torch.stack(self._clip_hits)
