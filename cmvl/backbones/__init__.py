"""Importing this package registers the backbones."""

from cmvl.backbones import r2plus1d, resnet, slowfast
from cmvl.backbones.backbone import BACKBONES, Backbone
from cmvl.backbones.build import build_backbone

__all__ = ["BACKBONES", "Backbone", "build_backbone", "r2plus1d", "resnet", "slowfast"]
