"""SlowFast (Feichtenhofer et al. 2019): a slow pathway, a thin fast one, lateral connections."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.backbones.backbone import BACKBONES, Backbone
from cmvl.backbones.pathway import Pathway, Pathways
from cmvl.backbones.resnet import SlowOnly
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d
from cmvl.layers.init import init_convnet
from cmvl.layers.resnet3d import ResBlock, Stem
from cmvl.utils.errors import ConfigError


class FuseFastToSlow(nn.Module):
    """Time-strided convolution of the fast map, appended to the slow one's channels."""

    def __init__(self, d_fast: int, d_lateral: int, kernel_t: int, alpha: int):
        super().__init__()
        self.conv_f2s = nn.Conv3d(
            d_fast, d_lateral, (kernel_t, 1, 1), (alpha, 1, 1), (kernel_t // 2, 0, 0), bias=False
        )
        self.bn = ClipwiseBatchNorm3d(d_lateral)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[(B, d, t, h, w), (B, d_fast, alpha t, h, w)] -> the same with d + d_lateral."""
        slow, fast = maps
        return [torch.cat([slow, F.relu_(self.bn(self.conv_f2s(fast)))], dim=1), fast]


@BACKBONES.register()
class SlowFast(Backbone):
    """The clip's T frames feed the fast pathway, T / alpha of them the slow one."""

    fast_kernels = ((3,), (3,), (3,), (3,))
    blocks = (Stem, ResBlock, FuseFastToSlow)

    def __init__(
        self,
        slow: Pathway,
        fast: Pathway,
        mean: Sequence[float],
        std: Sequence[float],
        zero_init: bool = True,
        alpha: int = 4,
        lateral_ratio: int = 2,
        lateral_kernel: int = 5,
    ):
        """`lateral_ratio`: lateral channels per fast channel; `lateral_kernel`: frames."""
        super().__init__(mean, std)
        self.alpha = alpha
        lateral = [lateral_ratio * d for d in fast.dims]

        def stem(pathway: Pathway, kernel_t: int) -> dict[str, nn.Module]:
            pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
            return {"stem": Stem(pathway.width, kernel_t, pool)}

        def fuse(k: int) -> FuseFastToSlow:
            return FuseFastToSlow(fast.dims[k - 1], lateral[k - 1], lateral_kernel, alpha)

        def stages(k: int) -> Pathways:
            return Pathways(
                slow.stage(k, SlowOnly.kernels, d_lateral=lateral[k - 2]),
                fast.stage(k, self.fast_kernels),
            )

        self.s1, self.s1_fuse = Pathways(stem(slow, 1), stem(fast, 5)), fuse(1)
        self.s2, self.s2_fuse = stages(2), fuse(2)
        self.s3, self.s3_fuse = stages(3), fuse(3)
        self.s4, self.s4_fuse = stages(4), fuse(4)
        self.s5 = stages(5)
        self.dims, self.stride = (slow.dims[-1], fast.dims[-1]), slow.stride
        init_convnet(self, zero_init)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "SlowFast":
        options, width = cfg.SLOWFAST, cfg.RESNET.WIDTH_PER_GROUP
        if width % options.BETA_INV:
            raise ConfigError(
                f"SLOWFAST.BETA_INV {options.BETA_INV} does not divide "
                f"RESNET.WIDTH_PER_GROUP {width}"
            )
        if options.FUSION_KERNEL_SZ % 2 == 0:
            raise ConfigError(
                f"SLOWFAST.FUSION_KERNEL_SZ {options.FUSION_KERNEL_SZ} has no middle frame: "
                "choose an odd one"
            )
        slow, fast = Pathway.from_cfg(cfg, 0), Pathway.from_cfg(cfg, 1)
        if slow.strides != fast.strides:
            raise ConfigError(
                f"RESNET.SPATIAL_STRIDES {cfg.RESNET.SPATIAL_STRIDES} makes maps of other sizes in "
                "the fast pathway than in the slow one, which takes them in: give both the same"
            )
        return cls(
            slow,
            replace(fast, width=width // options.BETA_INV),
            cfg.DATA.MEAN,
            cfg.DATA.STD,
            cfg.RESNET.ZERO_INIT_FINAL_BN,
            options.ALPHA,
            options.FUSION_CONV_CHANNEL_RATIO,
            options.FUSION_KERNEL_SZ,
        )

    def extract(self, x: Tensor) -> list[Tensor]:
        """(B, 3, T, H, W) -> slow (B, d, T / alpha, h, w) and fast (B, d_fast, T, h, w)."""
        frames = slow_frames(x.shape[2], self.alpha)
        maps = [torch.stack([x[:, :, i] for i in frames], dim=2), x]
        maps = self.s1_fuse(self.s1(maps))
        maps = self.s2_fuse(self.s2(maps))
        maps = self.s3_fuse(self.s3(maps))
        maps = self.s4_fuse(self.s4(maps))
        return self.s5(maps)


def slow_frames(T: int, alpha: int) -> list[int]:
    """T / alpha points from 0 to T - 1, both included, cut to integers (PySlowFast's rule).

    In single precision and from both ends, as its torch.linspace has them: a point that should be
    whole may lie below. Not by tensors, whose values torch 2.6 does not know when it exports.
    """
    if T % alpha:
        raise ConfigError(
            f"DATA.NUM_FRAMES {T} is no multiple of SLOWFAST.ALPHA {alpha}: the slow pathway "
            "takes one frame in ALPHA"
        )
    count, last = T // alpha, T - 1
    if count == 1:
        return [0]
    step = float(np.float32(last) / np.float32(count - 1))
    rising = [step * i for i in range(count // 2)]
    falling = [last - step * i for i in reversed(range(count - count // 2))]
    return [int(np.float32(point)) for point in rising + falling]
