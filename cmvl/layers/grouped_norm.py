"""Batch norm of N groups of clips in any memory layout, over this process or over all of them.

B videos of N clips each, C channels, S positions. One collective forward and one backward serve
all N groups.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from cmvl.utils.distributed import all_gather, all_reduce

OVER = (0, 3, 4, 5)  # of (B, N, C, t, h, w): what a group's statistics are taken over


def grouped_norm(
    x: Tensor, weight: Tensor, bias: Tensor, N: int, eps: float, across: bool, together: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """x (B * N, C, t, h, w) normalised per group and channel; mean and unbiased variance (N, C).

    `across`: statistics over all processes, and gradients through them. `together`: clip n of
    video b is at row n * B + b, not b * N + n.
    """
    by_kernels = (together or x.is_contiguous()) and _on_gpu(x)
    way = _ByKernels if by_kernels else _ByOperations
    return way.apply(x, weight, bias, N, eps, across, together)


def _on_gpu(x: Tensor) -> bool:
    """And not on its way through a compiler, which has no such kernels."""
    return x.is_cuda and not torch.compiler.is_compiling()


class _ByOperations(Function):
    """In any layout, on any device; a compiler makes few kernels of it."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        N: int,
        eps: float,
        across: bool,
        together: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Half precision is too short for sums over positions.
        wide = _apart(x, N, together).to(weight.dtype)
        count = wide.numel() // (N * x.shape[1])
        variance, mean = torch.var_mean(wide, OVER, correction=0)
        if across:
            mean, variance, count = _pooled(mean, variance, count)
        inverse = (variance + eps).rsqrt()
        scale = inverse * weight
        y = torch.addcmul(_wide(bias - mean * scale), wide, _wide(scale)).to(x.dtype)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.N, ctx.across, ctx.together, ctx.count = N, across, together, count
        unbiased = variance * (count / max(count - 1, 1))
        ctx.mark_non_differentiable(mean, unbiased)
        return _joined(y, together), mean, unbiased

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        dy = _apart(dy, ctx.N, ctx.together).to(weight.dtype)
        x = _apart(x, ctx.N, ctx.together)
        x_hat = (x.to(weight.dtype) - _wide(mean)) * _wide(inverse)
        sums = torch.stack([dy.sum(OVER), (dy * x_hat).sum(OVER)])  # (2, N, C)
        d_bias, d_weight = sums.sum(dim=1)  # of this process: DDP averages them
        if ctx.across:
            sums = all_reduce(sums)
        of_dy, of_x_hat = sums / ctx.count
        dx = (dy - _wide(of_dy) - x_hat * _wide(of_x_hat)) * _wide(inverse * weight)
        dx = _joined(dx.to(x.dtype), ctx.together)
        return dx, d_weight, d_bias, None, None, None, None


class _ByKernels(Function):
    """By those of torch's SyncBatchNorm: a third of the passes through a GPU's memory."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        N: int,
        eps: float,
        across: bool,
        together: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = x.contiguous(memory_format=_layout(x))  # else `_parts` were copies
        C, parts = x.shape[1], _parts(x, N, together)
        count = x.numel() // (N * C)
        found = [torch.batch_norm_stats(part, eps) for part in parts]
        mean, inverse = (torch.cat(values) for values in zip(*found, strict=True))  # (N C)
        variance = inverse.pow(-2) - eps
        if across:
            mean, variance, count = _pooled(mean, variance, count)
            inverse = (variance + eps).rsqrt()
        y = torch.empty_like(x)
        each = _each(parts, weight, bias, mean, inverse)
        for part, values, out in zip(parts, each, _parts(y, N, together), strict=True):
            torch.batch_norm_elemt(part, *values, eps, out=out)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.N, ctx.across, ctx.together, ctx.count = N, across, together, count
        mean = mean.view(N, C)
        unbiased = variance.view(N, C) * (count / max(count - 1, 1))
        ctx.mark_non_differentiable(mean, unbiased)
        return y, mean, unbiased

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        dys = _parts(dy.contiguous(memory_format=_layout(x)), ctx.N, ctx.together)
        xs = _parts(x, ctx.N, ctx.together)
        each = _each(xs, mean, inverse, weight)
        found = [
            torch.batch_norm_backward_reduce(*maps, *values, True, True, True)
            for *maps, values in zip(dys, xs, each, strict=True)
        ]
        *sums, d_weight, d_bias = (torch.cat(values) for values in zip(*found, strict=True))
        sums = torch.stack(sums)  # (2, N C)
        if ctx.across:
            sums = all_reduce(sums)
        count = torch.full((1,), ctx.count, dtype=torch.int32, device=x.device)
        dx = [
            torch.batch_norm_backward_elemt(*maps, *values, *totals, count)
            for *maps, values, totals in zip(dys, xs, each, _each(xs, *sums), strict=True)
        ]
        dx = dx[0] if len(dx) == 1 else torch.cat(dx)
        d_weight, d_bias = (d.view(ctx.N, -1).sum(dim=0) for d in (d_weight, d_bias))
        return dx.view_as(x), d_weight, d_bias, None, None, None, None


def _layout(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last_3d


def _parts(x: Tensor, N: int, together: bool) -> list[Tensor]:
    """Views in which a channel is of one group: N of (B, C, t h, w), or one (B, N C, t h, w)."""
    flat = x.flatten(2, 3)
    return list(flat.chunk(N)) if together else [flat.unflatten(0, (-1, N)).flatten(1, 2)]


def _each(parts: list[Tensor], *values: Tensor) -> list[tuple[Tensor, ...]]:
    """Of the `values`, (N C) or (C) for all groups, those of each part."""
    size = parts[0].shape[1]
    rows = (v.view(-1, size) if len(v) >= size else v.repeat(1, size // len(v)) for v in values)
    return list(zip(*(row.expand(len(parts), -1) for row in rows), strict=True))


def _apart(x: Tensor, N: int, together: bool) -> Tensor:
    """(B * N, C, t, h, w) -> a view (B, N, C, t, h, w)."""
    return x.unflatten(0, (N, -1)).transpose(0, 1) if together else x.unflatten(0, (-1, N))


def _joined(groups: Tensor, together: bool) -> Tensor:
    """The inverse of `_apart`."""
    return (groups.transpose(0, 1) if together else groups).flatten(0, 1)


def _pooled(mean: Tensor, variance: Tensor, count: int) -> tuple[Tensor, Tensor, int]:
    """Statistics (N, C) of all processes' values together, each of which holds `count`."""
    means, variances = all_gather(torch.stack([mean, variance])).unbind(1)  # (ranks, N, C)
    pooled = means.mean(dim=0)
    return pooled, (variances + (means - pooled).square()).mean(dim=0), count * len(means)


def _wide(statistics: Tensor) -> Tensor:
    """(N, C) -> (N, C, 1, 1, 1)."""
    return statistics[:, :, None, None, None]
