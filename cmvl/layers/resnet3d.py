"""Parts of a 3D residual net: stem, residual branches, block, stage (Feichtenhofer et al. 2019).

Parameter names are PySlowFast's. Maps are (B, d, t, h, w), strides and kernels (t, h, w);
`dilation` is spatial.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor, nn

from cmvl.layers.batchnorm import ClipwiseBatchNorm3d

THW = tuple[int, int, int]


def conv(
    d_in: int, d_out: int, kernel: THW, stride: THW = (1, 1, 1), dilation: int = 1
) -> nn.Conv3d:
    """A convolution without bias that keeps the size at stride 1; odd kernels."""
    dilations = (1, dilation, dilation)
    padding = tuple(d * (k // 2) for k, d in zip(kernel, dilations, strict=True))
    return nn.Conv3d(d_in, d_out, kernel, stride, padding, dilations, bias=False)


def closing_norm(d: int) -> ClipwiseBatchNorm3d:
    """The last norm of a branch that is added to its input."""
    norm = ClipwiseBatchNorm3d(d)
    norm.zero_init = True  # read by layers/init.py
    return norm


class Stem(nn.Module):
    """k x 7 x 7 convolution with spatial stride 2, norm, ReLU, pool."""

    def __init__(self, d_out: int, kernel_t: int, pool: nn.Module, stride_t: int = 1):
        super().__init__()
        self.conv = conv(3, d_out, (kernel_t, 7, 7), (stride_t, 2, 2))
        self.bn = ClipwiseBatchNorm3d(d_out)
        self.pool_layer = pool

    def forward(self, x: Tensor) -> Tensor:
        return self.pool_layer(F.relu_(self.bn(self.conv(x))))


class Bottleneck(nn.Module):
    """k x 1 x 1, 1 x 3 x 3 (with stride and dilation), 1 x 1 x 1."""

    expansion = 4  # d_out / d_inner

    def __init__(
        self, d_in: int, d_inner: int, d_out: int, kernel_t: int, stride: THW, dilation: int = 1
    ):
        super().__init__()
        self.a = conv(d_in, d_inner, (kernel_t, 1, 1))
        self.a_bn = ClipwiseBatchNorm3d(d_inner)
        self.b = conv(d_inner, d_inner, (1, 3, 3), stride, dilation)
        self.b_bn = ClipwiseBatchNorm3d(d_inner)
        self.c = conv(d_inner, d_out, (1, 1, 1))
        self.c_bn = closing_norm(d_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.a_bn(self.a(x)))
        x = F.relu_(self.b_bn(self.b(x)))
        return self.c_bn(self.c(x))


class Bottleneck2plus1d(nn.Module):
    """1 x 1 x 1, then k x 1 x 1 and 1 x 3 x 3 for a 3D convolution, 1 x 1 x 1 (CorrNet, Table 2).

    Time first, each with its part of the stride; all at d_inner channels.
    """

    expansion = 4

    def __init__(
        self, d_in: int, d_inner: int, d_out: int, kernel_t: int, stride: THW, dilation: int = 1
    ):
        super().__init__()
        t, h, w = stride
        self.a = conv(d_in, d_inner, (1, 1, 1))
        self.a_bn = ClipwiseBatchNorm3d(d_inner)
        self.b_t = conv(d_inner, d_inner, (kernel_t, 1, 1), (t, 1, 1))
        self.b_t_bn = ClipwiseBatchNorm3d(d_inner)
        self.b = conv(d_inner, d_inner, (1, 3, 3), (1, h, w), dilation)
        self.b_bn = ClipwiseBatchNorm3d(d_inner)
        self.c = conv(d_inner, d_out, (1, 1, 1))
        self.c_bn = closing_norm(d_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.a_bn(self.a(x)))
        x = F.relu_(self.b_t_bn(self.b_t(x)))
        x = F.relu_(self.b_bn(self.b(x)))
        return self.c_bn(self.c(x))


class Basic(nn.Module):
    """k x 3 x 3 (with stride), 1 x 3 x 3: ResNet-18 and -34."""

    expansion = 1

    def __init__(
        self, d_in: int, d_inner: int, d_out: int, kernel_t: int, stride: THW, dilation: int = 1
    ):
        super().__init__()
        self.a = conv(d_in, d_inner, (kernel_t, 3, 3), stride, dilation)
        self.a_bn = ClipwiseBatchNorm3d(d_inner)
        self.b = conv(d_inner, d_out, (1, 3, 3), dilation=dilation)
        self.b_bn = closing_norm(d_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.b_bn(self.b(F.relu_(self.a_bn(self.a(x)))))


class ResBlock(nn.Module):
    """ReLU(shortcut + branch); the shortcut is projected where the shape changes."""

    def __init__(self, d_in: int, d_out: int, stride: THW, branch: nn.Module):
        super().__init__()
        self.projects = d_in != d_out or max(stride) > 1
        if self.projects:
            self.branch1 = conv(d_in, d_out, (1, 1, 1), stride)
            self.branch1_bn = ClipwiseBatchNorm3d(d_out)
        self.branch2 = branch

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.branch1_bn(self.branch1(x)) if self.projects else x
        return F.relu_(self.branch2(x).add_(shortcut))


def stage(
    branch: type[nn.Module],
    d_in: int,
    d_inner: int,
    kernels: Sequence[int],
    stride: THW = (1, 1, 1),
    dilation: int = 1,
    nonlocal_blocks: Mapping[int, nn.Module] = MappingProxyType({}),
) -> dict[str, nn.Module]:
    """One block per temporal kernel, named res0, res1, ...; nonlocal1 stands after res1.

    The first block has the stride.
    """
    d_out = d_inner * branch.expansion
    modules = {}
    for i, kernel_t in enumerate(kernels):
        d, s = (d_in, stride) if i == 0 else (d_out, (1, 1, 1))
        modules[f"res{i}"] = ResBlock(d, d_out, s, branch(d, d_inner, d_out, kernel_t, s, dilation))
        if i in nonlocal_blocks:
            modules[f"nonlocal{i}"] = nonlocal_blocks[i]
    return modules
