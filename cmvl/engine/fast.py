"""Switches of a built model: how it computes, and what its norms take their statistics over."""

from functools import partial

import torch
from fvcore.common.config import CfgNode
from torch import nn

from cmvl.engine.precision import build_precision
from cmvl.layers.batchnorm import merge_groups, synchronise
from cmvl.layers.folded_conv import fold_stems
from cmvl.layers.repeatable_pool import make_pools_repeatable
from cmvl.model import VideoModel

MOST_BLOCKS = 128  # different ones, in training and in tests; torch's own limit is 8


def build_fast(cfg: CfgNode, model: VideoModel) -> None:
    """Memory layout, compilation, groups of norms, pools; in place, parameter names stay."""
    if lays_channels_last(cfg, next(model.parameters()).device):
        lay_channels_last(model)
    if cfg.BN.SYNC:
        synchronise(model)
    if not cfg.BN.CLIPWISE:
        merge_groups(model)
    if cfg.DETERMINISTIC:
        make_pools_repeatable(model)
    if cfg.MODEL.COMPILE:
        compile_parts(model)


def lays_channels_last(cfg: CfgNode, device: torch.device) -> bool:
    """MODEL.MEMORY_FORMAT; auto: in half precision on a GPU (docs/benchmarks.md)."""
    if cfg.MODEL.MEMORY_FORMAT != "auto":
        return cfg.MODEL.MEMORY_FORMAT == "channels_last"
    half = build_precision(cfg.TRAIN.PRECISION, device).half
    return device.type == "cuda" and half is not None


def lay_channels_last(model: VideoModel) -> None:
    """Weights of the backbone with channels innermost; maps follow."""
    for module in model.backbone.modules():
        # A kernel of one position is the same in both layouts, its gradient comes in the plain one.
        if isinstance(module, nn.Conv3d) and module.weight[0, 0].numel() > 1:
            module.to(memory_format=torch.channels_last_3d)
    fold_stems(model.backbone)
    model.encode = partial(model.encode, together=True)


def compile_parts(model: VideoModel) -> None:
    """The backbone block by block: blocks that are alike are compiled once."""
    torch._dynamo.config.cache_size_limit = MOST_BLOCKS
    backbone = model.backbone
    parts = [module for module in backbone.modules() if isinstance(module, backbone.blocks)]
    for part in parts or [backbone]:
        part.compile(dynamic=False)  # other blocks' shapes say nothing about this one's
    for name in ("push", "recall", "infuse"):
        setattr(model.memory, name, torch.compile(getattr(model.memory, name)))
