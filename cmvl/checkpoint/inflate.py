"""Making a file's tensor fit one of the model without changing what it computes."""

from collections.abc import Iterable

import torch
from torch import Tensor


def is_2d(tensors: Iterable[Tensor]) -> bool:
    """Is this an image net: no kernel longer than one frame?"""
    return all(t.ndim != 5 or t.shape[2] == 1 for t in tensors)


def inflate(kernel: Tensor, shape: torch.Size) -> Tensor | None:
    """(d_out, d_in, h, w) or one frame of it, spread evenly over the `shape`'s T frames.

    The sum over time stays the 2D kernel, so a still video gives what its image gave.
    """
    if len(shape) != 5 or kernel.ndim not in (4, 5):
        return None
    frame = kernel.unsqueeze(2) if kernel.ndim == 4 else kernel
    if frame.shape[2] != 1 or frame[:, :, 0].shape != torch.Size([*shape[:2], *shape[3:]]):
        return None
    return frame.expand(shape) / shape[2]


def with_rank(value: Tensor, rank: int) -> Tensor:
    """Trailing dimensions of 1 dropped or added: a linear weight is a 1 x 1 x 1 convolution's."""
    while value.ndim > rank and value.shape[-1] == 1:
        value = value.squeeze(-1)
    return value.reshape([*value.shape, *[1] * (rank - value.ndim)])
