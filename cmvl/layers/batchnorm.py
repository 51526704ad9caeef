"""Batch norm whose statistics see each video once (Sec. 3.3, "clips from different videos").

B videos, N clips of each, C channels. With N clip groups active, a batch of B * N clips (clip n of
video b at row b * N + n) is normalised in N groups: group n holds the n-th clip of every video.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClipwiseBatchNorm3d(nn.BatchNorm3d):
    """`nn.BatchNorm3d` with the same state dict; in training it keeps clips of a video apart.

    The running statistics move one step per group, in order, as if the groups had come one after
    the other. `clips` and `frozen` are set by the contexts below, not by hand.
    """

    clips = 1  # N
    frozen = False

    def forward(self, x: Tensor) -> Tensor:
        """x: (B * N, C, ...) -> the same shape."""
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        N, C = self.clips, self.num_features
        mean = self.running_mean.new_zeros(N * C)
        var = self.running_var.new_zeros(N * C)
        weight, bias = self.weight.repeat(N), self.bias.repeat(N)
        # (B, N * C, ...): a view, so that one kernel normalises all groups.
        # Momentum 1 makes the throw-away buffers the batch's own statistics.
        grouped = x.reshape(x.shape[0] // N, N * C, *x.shape[2:])
        y = F.batch_norm(grouped, mean, var, weight, bias, True, 1.0, self.eps).view_as(x)
        if not self.frozen:
            self._move(mean.view(N, C), var.view(N, C))
        return y

    @torch.no_grad()
    def _move(self, mean: Tensor, var: Tensor) -> None:
        """N steps of the exponential average, batch statistics (N, C)."""
        for m, v in zip(mean, var, strict=True):
            self.num_batches_tracked += 1
            momentum = self.momentum
            if momentum is None:  # torch's cumulative average, used by precise statistics
                momentum = 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(m, momentum)
            self.running_var.lerp_(v, momentum)


@contextmanager
def _attribute(module: nn.Module, name: str, value: int | bool) -> Iterator[None]:
    """Set `name` on every clip-wise batch norm of `module`; what stood there before comes back."""
    layers = [m for m in module.modules() if isinstance(m, ClipwiseBatchNorm3d)]
    before = [getattr(layer, name) for layer in layers]
    for layer in layers:
        setattr(layer, name, value)
    try:
        yield
    finally:
        for layer, old in zip(layers, before, strict=True):
            setattr(layer, name, old)


def clip_groups(module: nn.Module, N: int) -> AbstractContextManager[None]:
    """Inside, batches of `module` hold N clips per video."""
    return _attribute(module, "clips", N)


def frozen_stats(module: nn.Module) -> AbstractContextManager[None]:
    """Inside, running statistics stay; the arithmetic is unchanged.

    Multi-iteration's second scan: it must repeat the first bit for bit (the same kernel call on
    throw-away buffers), yet a clip's statistics count only once.
    """
    return _attribute(module, "frozen", True)
