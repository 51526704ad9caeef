"""Switches that change how a model computes, not what."""

import torch
from fvcore.common.config import CfgNode

from cmvl.layers.batchnorm import synchronise
from cmvl.model import VideoModel


def build_fast(cfg: CfgNode, model: VideoModel) -> None:
    """Memory layout, compilation and synchronised norms, in place; parameter names stay."""
    if cfg.MODEL.CHANNELS_LAST:
        model.backbone.to(memory_format=torch.channels_last_3d)
    if cfg.BN.SYNC:
        synchronise(model)
    if cfg.MODEL.COMPILE:
        model.backbone.compile()
        for name in ("push", "pop", "infuse"):
            setattr(model.memory, name, torch.compile(getattr(model.memory, name)))
