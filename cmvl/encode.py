"""How to get X from clips under a memory limit (Sec. 3.3). One signature.

clips: uint8 (B, N, 3, T, H, W); X: one (B, N, d, t, h, w) per pathway.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cmvl.layers.batchnorm import clip_groups, frozen_stats

Encode = Callable[[nn.Module, Tensor], list[Tensor]]


def batch_reduction(f: nn.Module, clips: Tensor) -> list[Tensor]:
    """All N clips in one graph; batch-norm statistics over clips of different videos."""
    B, N = clips.shape[:2]
    with clip_groups(f, N):
        return [x.unflatten(0, (B, N)) for x in f(clips.flatten(0, 1))]


def batch_reduction_by_groups(f: nn.Module, clips: Tensor) -> list[Tensor]:
    """`batch_reduction` for maps with channels innermost, of which only rows are had as a view.

    So the rows of a clip group lie together: not video after video, but clip after clip.
    """
    B, N = clips.shape[:2]
    with clip_groups(f, N, together=True):
        maps = f(clips.transpose(0, 1).flatten(0, 1))
    return [x.unflatten(0, (N, B)).transpose(0, 1) for x in maps]


def multi_iteration(f: nn.Module, clips: Tensor) -> list[Tensor]:
    """One clip's activations at a time: scan 1 keeps only X_n, scan 2 re-runs f in `backward`.

    Gradients are exact, those through the memory too.
    """

    def scans() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), frozen_stats(f)  # running statistics move once, in scan 1

    X = [checkpoint(f, C_n, use_reentrant=False, context_fn=scans) for C_n in clips.unbind(1)]
    return [torch.stack(x, dim=1) for x in zip(*X, strict=True)]


ENCODINGS: dict[str, Encode] = {f.__name__: f for f in (batch_reduction, multi_iteration)}
