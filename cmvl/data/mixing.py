"""Training videos mixed with others of their batch, and their labels with them (MIXUP)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from numpy.typing import NDArray
from torch import Tensor

from cmvl.structures import VideoBatch, VideoItem, collate

Pixels = NDArray[np.uint8]  # of a video, (N, 3, T, H, W)


@dataclass(frozen=True)
class VideoMixer:
    """mixup (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899).

    Whole videos are mixed: all clips with one share, CutMix's rectangle is the same in all frames,
    for a memory gathers what belongs to one label. Video b becomes s times itself and 1 - s times
    video b - 1, with s ~ Beta(a, a), a = `alpha` of mixup and `cut_alpha` of CutMix (0: not that
    one). `prob`: of being mixed; `switch`: then of CutMix, where there are both.

    All randomness is a pure function of `seed` and the videos of the batch.
    """

    classes: int
    alpha: float = 0.8
    cut_alpha: float = 1.0
    prob: float = 1.0
    switch: float = 0.5
    seed: int = 0

    def __call__(self, items: list[VideoItem]) -> VideoBatch:
        """What `collate` makes, mixed; labels (B,) or (B, K) -> (B, K) floating."""
        batch = collate(items)
        rng = np.random.default_rng([self.seed, *batch.index.tolist()])
        videos = batch.clips.numpy()
        last, shares = videos[-1].copy(), torch.ones(len(videos))
        for b in reversed(range(len(videos))):  # so that video b - 1 is still itself
            if rng.random() < self.prob:
                shares[b] = self._mix(videos[b], videos[b - 1] if b else last, rng)
        labels, of_clips = batch.labels, batch.clip_labels
        if not labels.is_floating_point():
            labels = F.one_hot(labels, self.classes).float()
        if of_clips is not None:
            of_clips = _blend(of_clips, shares)
        return replace(batch, labels=_blend(labels, shares), clip_labels=of_clips)

    def _mix(self, video: Pixels, other: Pixels, rng: np.random.Generator) -> float:
        """In place; the share of `video` that is left."""
        cuts = self.cut_alpha > 0 and (self.alpha == 0 or rng.random() < self.switch)
        alpha = self.cut_alpha if cuts else self.alpha
        share = float(rng.beta(alpha, alpha))
        return _cut(video, other, share, rng) if cuts else _add(video, other, share)


def _add(video: Pixels, other: Pixels, share: float) -> float:
    rows = video.reshape(-1, video.shape[-1])
    cv2.addWeighted(rows, share, other.reshape(rows.shape), 1 - share, 0, dst=rows)
    return share


def _cut(video: Pixels, other: Pixels, share: float, rng: np.random.Generator) -> float:
    """A rectangle of the picture's form; what of it lies outside counts for nothing."""
    size = np.array(video.shape[-2:])
    half = size * np.sqrt(1 - share) / 2
    middle = rng.uniform(0, size)
    (top, left), (bottom, right) = (
        np.clip(np.rint(edge), 0, size).astype(int) for edge in (middle - half, middle + half)
    )
    video[..., top:bottom, left:right] = other[..., top:bottom, left:right]
    return 1 - float((bottom - top) * (right - left) / size.prod())


def _blend(labels: Tensor, shares: Tensor) -> Tensor:
    own = shares.view(-1, *[1] * (labels.dim() - 1))
    return own * labels + (1 - own) * labels.roll(1, dims=0)


def build_collate(cfg: CfgNode, split: str) -> Callable[[list[VideoItem]], VideoBatch]:
    """What makes a batch of a split's videos."""
    mixup = cfg.MIXUP
    if split != "train" or not mixup.ENABLE:
        return collate
    return VideoMixer(
        cfg.MODEL.NUM_CLASSES,
        mixup.ALPHA,
        mixup.CUTMIX_ALPHA,
        mixup.PROB,
        mixup.SWITCH_PROB,
        cfg.RNG_SEED,
    )
