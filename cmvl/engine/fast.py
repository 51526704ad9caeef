"""Switches of a built model: how it computes, and what its norms take their statistics over."""

import torch
from fvcore.common.config import CfgNode
from torch import nn

from cmvl.encode import batch_reduction, batch_reduction_by_groups
from cmvl.layers.batchnorm import merge_groups, synchronise
from cmvl.model import VideoModel


def build_fast(cfg: CfgNode, model: VideoModel) -> None:
    """Memory layout, compilation and the groups of norms, in place; parameter names stay."""
    if cfg.MODEL.CHANNELS_LAST:
        for module in model.backbone.modules():
            if isinstance(module, nn.Conv3d):  # its output follows; other tensors have no 5 axes
                module.to(memory_format=torch.channels_last_3d)
        if model.encode is batch_reduction:
            model.encode = batch_reduction_by_groups
    if cfg.BN.SYNC:
        synchronise(model)
    if not cfg.BN.CLIPWISE:
        merge_groups(model)
    if cfg.MODEL.COMPILE:
        model.backbone.compile()
        for name in ("push", "recall", "infuse"):
            setattr(model.memory, name, torch.compile(getattr(model.memory, name)))
