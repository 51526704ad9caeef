"""The video-level loss, for one label or several, and the loss of boxes."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.utils.distributed import mean_over_ranks


class VideoLoss(nn.Module):
    """Eq. 1: the mean of the clips' losses, plus `video_weight` times the loss of their mean."""

    def __init__(self, clip_loss: Callable[[Tensor, Tensor], Tensor], video_weight: float):
        super().__init__()
        self.clip_loss, self.video_weight = clip_loss, video_weight

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "VideoLoss":
        return cls(nn.CrossEntropyLoss(), cfg.VIDEO.LOSS_WEIGHT)

    def forward(self, logits: Tensor, labels: Tensor, clip_labels: Tensor | None = None) -> Tensor:
        """logits (B, N, K), labels (B,) or (B, K) -> scalar. H is the mean of the logits.

        `clip_labels` (B, N, K): each clip's own labels, where they differ from the video's.
        """
        of_clips = labels.repeat_interleave(logits.shape[1], dim=0)
        if clip_labels is not None:
            of_clips = clip_labels.flatten(0, 1)
        per_clip = self.clip_loss(logits.flatten(0, 1), of_clips)
        return per_clip + self.video_weight * self.clip_loss(logits.mean(dim=1), labels)


def build_multi_label_loss(cfg: CfgNode) -> VideoLoss:
    """Eq. 1 with a binary cross-entropy per class; labels are multi-hot (B, K), floating."""
    return VideoLoss(nn.BCEWithLogitsLoss(), cfg.VIDEO.LOSS_WEIGHT)


class BoxLoss(nn.Module):
    """Binary cross-entropy, the mean over all boxes and classes (Sec. 4.5).

    Every clip of a window counts by its own boxes; there is no video-level term. Of several
    processes each divides by their mean number of boxes, so that the mean of their losses, and of
    their gradients, is that over all boxes.
    """

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "BoxLoss":
        return cls()

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (R, K), labels (R, K) multi-hot -> scalar; 0 for no boxes at all."""
        total = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        count = torch.tensor(float(labels.numel()), dtype=total.dtype, device=total.device)
        return total / mean_over_ranks(count).clamp(min=1)
