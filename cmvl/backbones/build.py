"""The backbone a config names."""

from fvcore.common.config import CfgNode

from cmvl.backbones.backbone import BACKBONES, TORCHVISION, Backbone
from cmvl.utils.registry import look_up


def build_backbone(cfg: CfgNode) -> Backbone:
    """MODEL.BACKBONE: a registered name, or torchvision/NAME."""
    name = cfg.MODEL.BACKBONE
    if name.startswith(TORCHVISION):
        from cmvl.backbones.torchvision import TorchvisionBackbone  # slow to import

        return TorchvisionBackbone.from_cfg(cfg)
    kind = look_up(BACKBONES, "MODEL.BACKBONE", name, f" | {TORCHVISION}NAME")
    return kind.from_cfg(cfg)
