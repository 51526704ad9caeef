"""Max pooling whose gradient is the same to the last bit, however often it is computed.

On a GPU torch adds up the gradients of overlapping windows in the order in which they come, and has
no other way (`max_pool3d_with_indices_backward_cuda`). Here one place of all windows is added after
the other.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Three = tuple[int, int, int]
PLACES = 256  # of a window, at most: they are kept as bytes


class RepeatablePool3d(nn.MaxPool3d):
    """`nn.MaxPool3d` with the same values."""

    def forward(self, x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and x.requires_grad):
            return super().forward(x)
        return _Pool.apply(x, *map(_three, (self.kernel_size, self.stride, self.padding)))


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Three, stride: Three, padding: Three) -> Tensor:
        y, winners = F.max_pool3d(x, kernel, stride, padding, return_indices=True)
        ctx.save_for_backward(_places(winners, x.shape[2:], kernel, stride, padding))
        ctx.shape, ctx.window = x.shape, (kernel, stride, padding)
        innermost = x.is_contiguous(memory_format=torch.channels_last_3d)
        ctx.layout = torch.channels_last_3d if innermost else torch.contiguous_format
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None]:
        (places,), (kernel, stride, padding) = ctx.saved_tensors, ctx.window
        sizes = ctx.shape[2:]
        padded = [size + 2 * p for size, p in zip(sizes, padding, strict=True)]
        dx = dy.new_zeros(*ctx.shape[:2], *padded)
        for number, place in enumerate(product(*map(range, kernel))):
            axes = zip(place, stride, dy.shape[2:], strict=True)
            where = (..., *(slice(first, first + s * n, s) for first, s, n in axes))
            dx[where] += dy.masked_fill(places != number, 0)
        for axis, (size, p) in enumerate(zip(sizes, padding, strict=True), start=2):
            dx = dx.narrow(axis, p, size)
        return dx.contiguous(memory_format=ctx.layout), None, None, None


def _places(
    winners: Tensor, sizes: Sequence[int], kernel: Three, stride: Three, padding: Three
) -> Tensor:
    """The place of each maximum in its window, 0 .. prod(kernel) - 1, of its place in the map."""
    _, H, W = sizes
    found = torch.zeros_like(winners)
    of_axes = (winners // (H * W), winners // W % H, winners % W)
    for axis, (at, k, s, p) in enumerate(zip(of_axes, kernel, stride, padding, strict=True)):
        windows = torch.arange(winners.shape[axis + 2], device=winners.device) * s - p
        found = found * k + at - windows.view(-1, *[1] * (2 - axis))
    return found.to(torch.uint8)


def _three(sizes: int | Three) -> Three:
    return (sizes,) * 3 if isinstance(sizes, int) else tuple(sizes)


def make_pools_repeatable(module: nn.Module) -> None:
    """Every max pool of `module`, in place; torch tells of those that are left."""
    for layer in module.modules():
        if type(layer) is nn.MaxPool3d and _is_plain(layer):
            layer.__class__ = RepeatablePool3d


def _is_plain(layer: nn.MaxPool3d) -> bool:
    simple = _three(layer.dilation) == (1, 1, 1) and not (layer.ceil_mode or layer.return_indices)
    return simple and prod(_three(layer.kernel_size)) <= PLACES
