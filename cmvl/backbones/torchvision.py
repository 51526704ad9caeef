"""torchvision's video nets as backbones: the last map, without pooling and classifier."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torchvision import models

from cmvl.backbones.backbone import TORCHVISION, Backbone
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d
from cmvl.utils.errors import ConfigError


def resnet_map(net: nn.Module, x: Tensor) -> Tensor:
    for part in (net.stem, net.layer1, net.layer2, net.layer3, net.layer4):
        x = part(x)
    return x


def s3d_map(net: nn.Module, x: Tensor) -> Tensor:
    return net.features(x)


def swin_map(net: nn.Module, x: Tensor) -> Tensor:
    x = net.norm(net.features(net.pos_drop(net.patch_embed(x))))  # (B, t, h, w, d)
    return x.permute(0, 4, 1, 2, 3)


def mvit_map(net: nn.Module, x: Tensor) -> Tensor:
    """The patches' tokens; the class token, which torchvision classifies by, is left out.

    Sizes come from the clip, so that any will do: the blocks interpolate relative positions.
    """
    x = net.conv_proj(x)
    thw = tuple(x.shape[2:])
    x = net.pos_encoding(x.flatten(2).transpose(1, 2))
    for block in net.blocks:
        x, thw = block(x, thw)
    return net.norm(x)[:, 1:].transpose(1, 2).unflatten(2, thw)


@dataclass(frozen=True)
class Family:
    extract: Callable[[nn.Module, Tensor], Tensor]  # (B, 3, T, H, W) -> (B, d, t, h, w)
    head: str  # the classifier's attribute
    stride: int
    frames: int = 1  # of a clip, at least
    side: int = 1


RESNET = Family(resnet_map, "fc", 16)
FAMILIES = {
    "r3d_18": RESNET,
    "mc3_18": RESNET,
    "r2plus1d_18": RESNET,
    "s3d": Family(s3d_map, "classifier", 32, frames=8, side=17),
    "swin3d_t": Family(swin_map, "head", 32),
    "mvit_v2_s": Family(mvit_map, "head", 32),
}


class TorchvisionBackbone(Backbone):
    """`name` is torchvision's; so are the parameters' names, under `net.`."""

    def __init__(
        self,
        name: str,
        mean: Sequence[float],
        std: Sequence[float],
        weights: str = "",
        load: bool = True,
    ):
        """`weights`, torchvision's name of pretrained ones, bring their own mean and std.

        `load` False: these alone, for a net that gets its weights otherwise.
        """
        self.family = find_family(name)
        pretrained = find_weights(name, weights) if weights else None
        if pretrained:
            preset = pretrained.transforms()
            mean, std = preset.mean, preset.std
        super().__init__(mean, std)
        self.net = fetch_model(name, pretrained if load else None)
        head = getattr(self.net, self.family.head)
        self.dims, self.stride = (next(head.parameters()).shape[1],), self.family.stride
        delattr(self.net, self.family.head)
        make_clipwise(self.net)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "TorchvisionBackbone":
        name = cfg.MODEL.BACKBONE.removeprefix(TORCHVISION)
        frames, side = cfg.DATA.NUM_FRAMES, min(cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TEST_CROP_SIZE)
        family = find_family(name)
        if frames < family.frames or side < family.side:
            raise ConfigError(
                f"DATA.NUM_FRAMES {frames} and crops of {side}: {cfg.MODEL.BACKBONE} pools clips "
                f"of fewer than {family.frames} frames, or {family.side} pixels, to nothing"
            )
        # A net that is not to be trained is about to get a checkpoint's weights.
        load = cfg.TRAIN.ENABLE
        return cls(name, cfg.DATA.MEAN, cfg.DATA.STD, cfg.TORCHVISION.WEIGHTS, load)

    def extract(self, x: Tensor) -> list[Tensor]:
        """(B, 3, T, H, W) -> [(B, d, t, h, w)]."""
        return [self.family.extract(self.net, x)]


def find_family(name: str) -> Family:
    if name not in FAMILIES:
        raise ConfigError(
            f"MODEL.BACKBONE is {TORCHVISION + name!r}; after {TORCHVISION} can stand "
            + ", ".join(FAMILIES)
        )
    return FAMILIES[name]


def find_weights(name: str, weights: str) -> models.WeightsEnum:
    known = models.get_model_weights(name)
    if weights not in known.__members__:
        raise ConfigError(
            f"TORCHVISION.WEIGHTS is {weights!r}; {name} has {', '.join(known.__members__)}"
        )
    return known[weights]


def fetch_model(name: str, weights: models.WeightsEnum | None) -> nn.Module:
    try:
        return models.get_model(name, weights=weights)
    except OSError as error:  # URLError is one
        folder = Path(torch.hub.get_dir(), "checkpoints")
        raise ConfigError(
            f"TORCHVISION.WEIGHTS: {weights.url} cannot be fetched ({error}); without network, put "
            f"the file into {folder}"
        ) from error


def make_clipwise(net: nn.Module) -> None:
    """Let every batch norm follow clip groups; names, values, eps and momentum stay."""
    for module in net.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = ClipwiseBatchNorm3d  # it adds behaviour only, no state
