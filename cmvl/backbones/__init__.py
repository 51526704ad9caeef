"""Importing this package registers the backbones."""

from cmvl.backbones import r2plus1d, resnet, slowfast
from cmvl.backbones.build import BACKBONES, Backbone, build_backbone

__all__ = ["BACKBONES", "Backbone", "build_backbone", "r2plus1d", "resnet", "slowfast"]
