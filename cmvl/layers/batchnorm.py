"""Batch norm whose statistics see each video once (Sec. 3.3, "clips from different videos").

B videos, N clips of each, C channels. With N clip groups active, a batch of B * N clips is
normalised in N groups: group n holds the n-th clip of every video of this process, or of all
processes (`BN.SYNC`). Clip n of video b is at row b * N + n, or, with groups `together`, at row
n * B + b. Without groups (`BN.CLIPWISE False`) all B * N clips are normalised together, as a plain
batch norm would.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmvl.layers.grouped_norm import grouped_norm
from cmvl.utils.distributed import world_size


class ClipwiseBatchNorm3d(nn.BatchNorm3d):
    """`nn.BatchNorm3d` with the same state dict; in training it keeps clips of a video apart.

    The running statistics move one step per group, in order, as if the groups had come one after
    the other. `clips`, `together` and `frozen` are set by the contexts below, not by hand.
    """

    clips = 1  # N
    together = False
    frozen = False
    sync = False  # statistics over all processes, see `synchronise`
    clipwise = True  # False: one group whatever N is, see `merge_groups`

    def forward(self, x: Tensor) -> Tensor:
        """x: (B * N, C, ...) -> the same shape, a tensor that may be written into."""
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        across = self.sync and world_size() > 1
        N = self.clips if self.clipwise else 1
        # A compiler makes fewer kernels of `grouped_norm` than of pieces.
        if not across and (N == 1 or (self.together and not torch.compiler.is_compiling())):
            return self._in_pieces(x, N)
        if not across and x.is_contiguous() and not self.together:
            y, mean, var = self._in_one_kernel(x, N)
        else:
            y, mean, var = grouped_norm(
                x, self.weight, self.bias, N, self.eps, across, self.together
            )
        if not self.frozen:
            self._move(mean, var)
        return _of_its_own(y, x.shape)

    def _in_pieces(self, x: Tensor, N: int) -> Tensor:
        """Group after group, which lie together, by torch's kernels, running statistics included.

        (B, C, t h, w) is a view in both layouts; with channels innermost its kernels take 4 axes.
        """
        mean, var = self.running_mean, self.running_var
        if self.frozen:
            mean, var = mean.clone(), var.clone()
        else:
            self.num_batches_tracked += N
        parts = [
            F.batch_norm(part, mean, var, self.weight, self.bias, True, self.momentum, self.eps)
            for part in x.flatten(2, 3).chunk(N)
        ]
        return _of_its_own(parts[0] if N == 1 else torch.cat(parts), x.shape)

    def _in_one_kernel(self, x: Tensor, N: int) -> tuple[Tensor, Tensor, Tensor]:
        """As `grouped_norm`, for contiguous x: (B, N * C, ...) is a view of it, and returned."""
        C = self.num_features
        # Momentum 1 makes these the batch's own, in a type that autocast does not change.
        mean, var = self.running_mean.new_zeros(N, C), self.running_var.new_zeros(N, C)
        grouped = x.view(x.shape[0] // N, N * C, *x.shape[2:])
        weight, bias = self.weight.repeat(N), self.bias.repeat(N)
        y = F.batch_norm(grouped, mean.flatten(), var.flatten(), weight, bias, True, 1.0, self.eps)
        return y, mean, var

    @torch.no_grad()
    def _move(self, mean: Tensor, var: Tensor) -> None:
        """N steps of the exponential average, batch statistics (N, C)."""
        self.num_batches_tracked += len(mean)
        N, kept = len(mean), 1 - self.momentum
        # Of group n in the average after all N, but for the momentum.
        shares = torch.logspace(N - 1, 0, N, base=kept, dtype=mean.dtype, device=mean.device)
        for running, groups in ((self.running_mean, mean), (self.running_var, var)):
            # In place: autocast would round the products of `mv` to half precision.
            running.addmv_(groups.t(), shares, beta=kept**N, alpha=self.momentum)


def _of_its_own(y: Tensor, shape: Sequence[int]) -> Tensor:
    """y, which nobody else holds, in another shape.

    Autograd takes it for no view: what is written into one costs it a copy of the gradient.
    """
    return torch.ops.aten._unsafe_view(y, shape)


def synchronise(module: nn.Module) -> None:
    """Batch norms of `module` take their statistics over all processes from now on."""
    for layer in _layers(module):
        layer.sync = True


def merge_groups(module: nn.Module) -> None:
    """Batch norms of `module` take their statistics over all B * N clips from now on.

    Their running statistics then move once a step, not N times.
    """
    for layer in _layers(module):
        layer.clipwise = False


def _layers(module: nn.Module) -> list["ClipwiseBatchNorm3d"]:
    return [m for m in module.modules() if isinstance(m, ClipwiseBatchNorm3d)]


@contextmanager
def _attributes(module: nn.Module, **values: int | bool) -> Iterator[None]:
    """Set on every clip-wise batch norm of `module`; what stood there before comes back."""
    layers = _layers(module)
    before = [{name: getattr(layer, name) for name in values} for layer in layers]
    _set(layers, [values] * len(layers))
    try:
        yield
    finally:
        _set(layers, before)


def _set(layers: Sequence[nn.Module], values: Sequence[dict[str, int | bool]]) -> None:
    for layer, own in zip(layers, values, strict=True):
        for name, value in own.items():
            setattr(layer, name, value)


def clip_groups(module: nn.Module, N: int, together: bool = False) -> AbstractContextManager[None]:
    """Inside, batches of `module` hold N clips per video; `together`: group after group."""
    return _attributes(module, clips=N, together=together)


def frozen_stats(module: nn.Module) -> AbstractContextManager[None]:
    """Inside, running statistics stay; the arithmetic is unchanged.

    Multi-iteration's second scan: it must repeat the first bit for bit (the same kernel call on
    throw-away buffers), yet a clip's statistics count only once.
    """
    return _attributes(module, frozen=True)
