"""R(2+1)D in CorrNet's layout (Wang et al. 2020, Table 2), which is pytorchvideo's too."""

from collections.abc import Sequence
from dataclasses import replace

from fvcore.common.config import CfgNode
from torch import nn

from cmvl.backbones.backbone import BACKBONES
from cmvl.backbones.pathway import BASIC, Pathway
from cmvl.backbones.resnet import ResNet
from cmvl.layers.resnet3d import Bottleneck2plus1d, Stem
from cmvl.utils.errors import ConfigError


@BACKBONES.register()
class R2Plus1D(ResNet):
    """Temporal then spatial convolution in every bottleneck; T frames in, T / 4 out."""

    kernels = ((3,), (3,), (3,), (3,))
    strides_t = (1, 1, 2, 2)

    def __init__(
        self,
        pathway: Pathway,
        mean: Sequence[float],
        std: Sequence[float],
        zero_init: bool = True,
    ):
        if pathway.depth in BASIC:
            raise ConfigError(
                f"RESNET.DEPTH is {pathway.depth}; R2Plus1D has bottlenecks, so 26, 50, 101 or 152"
            )
        # No pool after the stem: res2 halves in its place.
        strides = (2 * pathway.strides[0], *pathway.strides[1:])
        layout = replace(
            pathway, branch_type=Bottleneck2plus1d, strides=strides, strides_t=self.strides_t
        )
        stem = Stem(pathway.width, 1, nn.Identity())
        super().__init__(layout, stem, self.kernels, mean, std, zero_init)
        self.stride = pathway.stride

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "R2Plus1D":
        zero_init = cfg.RESNET.ZERO_INIT_FINAL_BN
        return cls(Pathway.from_cfg(cfg), cfg.DATA.MEAN, cfg.DATA.STD, zero_init)
