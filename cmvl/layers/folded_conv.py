"""A stem's 3D convolution of colours as a 2D one of frames and colours.

GPU libraries have no fast kernel for a 3D convolution of three channels (docs/benchmarks.md).
"""

import torch.nn.functional as F
from torch import Tensor, nn

COLOURS, WHOLE = 3, 8


class FoldedConv3d(nn.Conv3d):
    """`nn.Conv3d` with the same parameters and values: its k frames become k times the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, T, H, W) -> (B, d_out, T', H', W'), a view with channels innermost."""
        k, t, (p, *padding) = self.kernel_size[0], self.stride[0], self.padding
        frames = F.pad(x, (0, 0, 0, 0, p, p)).unfold(2, k, t)  # (B, d, T', H, W, k)
        folded = _innermost(frames.permute(0, 2, 3, 4, 5, 1))
        weight = _innermost(self.weight.permute(0, 3, 4, 2, 1))
        y = F.conv2d(
            folded.flatten(0, 1).permute(0, 3, 1, 2),
            weight.permute(0, 3, 1, 2),
            self.bias,
            self.stride[1:],
            padding,
        )
        return y.unflatten(0, folded.shape[:2]).transpose(1, 2)


def _innermost(x: Tensor) -> Tensor:
    """(..., k, d) -> (..., k d), with zeros up to a multiple that GPU kernels take as it is."""
    x = x.flatten(-2)
    return F.pad(x, (0, -x.shape[-1] % WHOLE))


def fold_stems(module: nn.Module) -> None:
    """Every convolution of a clip's colours over several frames in `module`, in place."""
    for layer in module.modules():
        if type(layer) is nn.Conv3d and layer.kernel_size[0] > 1 and _is_plain_stem(layer):
            layer.__class__ = FoldedConv3d


def _is_plain_stem(layer: nn.Conv3d) -> bool:
    simple = (layer.groups, layer.dilation, layer.padding_mode) == (1, (1, 1, 1), "zeros")
    return simple and layer.in_channels == COLOURS and isinstance(layer.padding, tuple)
