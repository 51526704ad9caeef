"""One-pathway residual nets: Slow-only (Feichtenhofer et al. 2019) and I3D (Wang et al. 2018)."""

from collections.abc import Sequence

from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.backbones.backbone import BACKBONES, Backbone
from cmvl.backbones.pathway import Kernels, Pathway, Pathways
from cmvl.layers.init import init_convnet
from cmvl.layers.resnet3d import ResBlock, Stem


class ResNet(Backbone):
    """Stem, res2..res5 (s1..s5), all frames kept unless a pool or the stem's stride drops some."""

    blocks = (Stem, ResBlock)

    def __init__(
        self,
        pathway: Pathway,
        stem: nn.Module,
        kernels: Kernels,
        mean: Sequence[float],
        std: Sequence[float],
        zero_init: bool = True,
        pool2: nn.Module | None = None,
    ):
        """`pool2` stands between res2 and res3."""
        super().__init__(mean, std)
        self.s1 = Pathways({"stem": stem})
        self.s2 = Pathways(pathway.stage(2, kernels))
        self.pool2 = pool2 or nn.Identity()
        self.s3 = Pathways(pathway.stage(3, kernels))
        self.s4 = Pathways(pathway.stage(4, kernels))
        self.s5 = Pathways(pathway.stage(5, kernels))
        self.dims, self.stride = pathway.dims[-1:], pathway.stride
        init_convnet(self, zero_init)

    def extract(self, x: Tensor) -> list[Tensor]:
        """(B, 3, T, H, W) -> [(B, d, t, H / stride, W / stride)]."""
        (x,) = self.s2(self.s1([x]))
        return self.s5(self.s4(self.s3([self.pool2(x)])))


@BACKBONES.register()
class SlowOnly(ResNet):
    """2D but for 3 x 1 x 1 kernels in res4 and res5; keeps all T frames."""

    kernels = ((1,), (1,), (3,), (3,))

    def __init__(
        self,
        pathway: Pathway,
        mean: Sequence[float],
        std: Sequence[float],
        zero_init: bool = True,
    ):
        stem = Stem(pathway.width, 1, nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)))
        super().__init__(pathway, stem, self.kernels, mean, std, zero_init)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "SlowOnly":
        zero_init = cfg.RESNET.ZERO_INIT_FINAL_BN
        return cls(Pathway.from_cfg(cfg), cfg.DATA.MEAN, cfg.DATA.STD, zero_init)


@BACKBONES.register()
class I3D(ResNet):
    """ResNet inflated in time; T frames in, T / 2 out with the defaults (PySlowFast's 8x8 net).

    The 32x2 net of the non-local paper has `stride_t=2, pool1_t=2, pool1_pad=0` and ends at T / 8.
    """

    kernels = ((3,), (3, 1), (3, 1), (1, 3))

    def __init__(
        self,
        pathway: Pathway,
        mean: Sequence[float],
        std: Sequence[float],
        zero_init: bool = True,
        stride_t: int = 1,
        pool1_t: int = 1,
        pool1_pad: int = 1,
    ):
        """Temporal stride of the stem; temporal size and spatial padding of its pool."""
        pool1 = nn.MaxPool3d((pool1_t, 3, 3), (pool1_t, 2, 2), (0, pool1_pad, pool1_pad))
        stem = Stem(pathway.width, 5, pool1, stride_t)
        pool2 = nn.MaxPool3d((2, 1, 1))
        super().__init__(pathway, stem, self.kernels, mean, std, zero_init, pool2)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "I3D":
        return cls(
            Pathway.from_cfg(cfg),
            cfg.DATA.MEAN,
            cfg.DATA.STD,
            cfg.RESNET.ZERO_INIT_FINAL_BN,
            cfg.I3D.CONV1_STRIDE,
            cfg.I3D.POOL1_SIZE,
            cfg.I3D.POOL1_PAD,
        )
