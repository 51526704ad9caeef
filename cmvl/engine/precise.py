"""Running statistics of the backbone's batch norms, estimated anew with fixed weights (fvcore)."""

import warnings
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from cmvl.data.loader import VideoLoader
from cmvl.engine.freeze import train_mode
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d
from cmvl.model import VideoModel
from cmvl.utils.distributed import mean_over_ranks


def precise_bn(
    model: VideoModel, loader: VideoLoader, epoch: int, batches: int, device: torch.device
) -> str:
    """Over `batches` batches of the epoch's videos, or all there are; returns what was done.

    One clip per video, as every group of the clip-wise batch norm sees them: batch after batch
    another of the N, since the first of stratified clips may always be one of a video's beginning.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # fvcore's use of torch.jit
        from fvcore.nn.precise_bn import update_bn_stats

    train_mode(model)
    loader.sampler.set_epoch(epoch)
    count = min(batches, len(loader))
    update_bn_stats(model.backbone, _single_clips(loader, count, device), count)
    _pool_over_ranks(model)
    return f"precise batch norm: {count} batches (BN.NUM_BATCHES_PRECISE {batches})"


def _single_clips(loader: VideoLoader, count: int, device: torch.device) -> Iterator[Tensor]:
    for i, batch in enumerate(islice(loader, count)):
        yield batch.to(device).clips[:, i % batch.clips.shape[1]]


def _pool_over_ranks(model: VideoModel) -> None:
    """The statistics of all processes' batches; the variance counts how their means differ."""
    for norm in model.backbone.modules():
        if isinstance(norm, ClipwiseBatchNorm3d) and norm.training:
            mean, var = norm.running_mean, norm.running_var
            square = mean_over_ranks(var + mean.square())
            mean_over_ranks(mean)
            var.copy_(square - mean.square())
