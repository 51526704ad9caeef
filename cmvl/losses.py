"""The video-level loss, for one label or several, and the loss of boxes.

A loss returns numbers by name: `loss`, which is minimised, and what the log shows besides. Its
`shares` say of a step's passes, by their labels, how much each counts: 1 on average over passes and
processes.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.utils.distributed import mean_over_ranks

Measure = Callable[[Tensor, Tensor], Tensor]  # (logits, labels) -> scalar


class VideoLoss(nn.Module):
    """Eq. 1: the mean of the clips' losses, plus `video_weight` times the loss of their mean.

    `error(logits, labels)`: of videos, for the log; None for tasks that have no such number.
    """

    def __init__(self, clip_loss: Measure, video_weight: float, error: Measure | None = None):
        super().__init__()
        self.clip_loss, self.video_weight, self.error = clip_loss, video_weight, error

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "VideoLoss":
        clip_loss = nn.CrossEntropyLoss(label_smoothing=cfg.TRAIN.LABEL_SMOOTHING)
        return cls(clip_loss, cfg.VIDEO.LOSS_WEIGHT, top1_error)

    def forward(
        self, logits: Tensor, labels: Tensor, clip_labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """logits (B, N, K), labels (B,) or (B, K) -> `loss`, its two terms, and the `error`.

        H is the mean of the logits. Labels (B, K) are multi-hot, or the shares of a mixed video.
        `clip_labels` (B, N, K): each clip's own labels, where they differ from the video's.
        """
        of_clips = labels.repeat_interleave(logits.shape[1], dim=0)
        if clip_labels is not None:
            of_clips = clip_labels.flatten(0, 1)
        per_clip = self.clip_loss(logits.flatten(0, 1), of_clips)
        H = logits.mean(dim=1)
        of_video = self.clip_loss(H, labels)
        loss = per_clip + self.video_weight * of_video
        terms = {"loss": loss, "loss_clips": per_clip, "loss_video": of_video}
        return terms if self.error is None else terms | {"error": self.error(H, labels)}

    def shares(self, labels: Sequence[Tensor]) -> list[float]:
        """All passes have as many videos."""
        return [1.0] * len(labels)


def top1_error(logits: Tensor, labels: Tensor) -> Tensor:
    """logits (B, K), labels (B,) or (B, K) -> the share of wrong videos in percent.

    Right is a mixed video where the larger of its parts is found.
    """
    if labels.dim() == 2:
        labels = labels.argmax(dim=-1)
    return 100 * (logits.argmax(dim=-1) != labels).float().mean()


def build_multi_label_loss(cfg: CfgNode) -> VideoLoss:
    """Eq. 1 with a binary cross-entropy per class; labels are multi-hot (B, K), floating."""
    return VideoLoss(nn.BCEWithLogitsLoss(), cfg.VIDEO.LOSS_WEIGHT)


class BoxLoss(nn.Module):
    """Binary cross-entropy, the mean over all boxes and classes (Sec. 4.5).

    Every clip of a window counts by its own boxes; there is no video-level term.
    """

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "BoxLoss":
        return cls()

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """logits (R, K), labels (R, K) multi-hot -> `loss`; 0 for no boxes at all."""
        total = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        return {"loss": total / max(1, labels.numel())}

    def shares(self, labels: Sequence[Tensor]) -> list[float]:
        """By boxes, so that the mean of all losses is that over all boxes of the step."""
        counts = torch.tensor([float(len(boxes)) for boxes in labels])
        mean = mean_over_ranks(counts.mean())  # on the CPU: no GPU is waited for
        return (counts / mean.clamp(min=1e-9)).tolist()
