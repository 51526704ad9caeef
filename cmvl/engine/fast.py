"""Switches that change how a model computes, not what."""

import torch
from fvcore.common.config import CfgNode
from torch import nn

from cmvl.layers.batchnorm import synchronise
from cmvl.model import VideoModel


def build_fast(cfg: CfgNode, model: VideoModel) -> None:
    """Memory layout, compilation and synchronised norms, in place; parameter names stay."""
    if cfg.MODEL.CHANNELS_LAST:
        for module in model.backbone.modules():
            if isinstance(module, nn.Conv3d):  # its output follows; other tensors have no 5 axes
                module.to(memory_format=torch.channels_last_3d)
    if cfg.BN.SYNC:
        synchronise(model)
    if cfg.MODEL.COMPILE:
        model.backbone.compile()
        for name in ("push", "recall", "infuse"):
            setattr(model.memory, name, torch.compile(getattr(model.memory, name)))
