"""How to get X from clips under a memory limit (Sec. 3.3). One signature.

clips: uint8 (B, N, 3, T, H, W); X: one (B, N, d, t, h, w) per pathway. `together`: the backbone
takes clip after clip, not video after video, so that the rows of a clip group lie together (of maps
with channels innermost only rows are had as a view).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cmvl.layers.batchnorm import clip_groups, frozen_stats

Encode = Callable[[nn.Module, Tensor], list[Tensor]]


def batch_reduction(f: nn.Module, clips: Tensor, together: bool = False) -> list[Tensor]:
    """All N clips in one graph; batch-norm statistics over clips of different videos."""
    B, N = clips.shape[:2]
    rows = clips.transpose(0, 1) if together else clips
    with clip_groups(f, N, together):
        maps = f(rows.flatten(0, 1))
    if together:
        return [x.unflatten(0, (N, B)).transpose(0, 1) for x in maps]
    return [x.unflatten(0, (B, N)) for x in maps]


def multi_iteration(
    f: nn.Module, clips: Tensor, together: bool = False, at_once: int = 1
) -> list[Tensor]:
    """The activations of `at_once` clips of a video at a time.

    Scan 1 keeps only X_n, scan 2 re-runs f in `backward`; but for the last clips, which `backward`
    takes first, while their activations are still there. Gradients are exact, those through the
    memory too.
    """

    def scans() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), frozen_stats(f)  # running statistics move once, in scan 1

    *parts, last = clips.split(iterations(clips.shape[1], at_once), dim=1)
    X = [
        checkpoint(batch_reduction, f, part, together, use_reentrant=False, context_fn=scans)
        for part in parts
    ]
    X.append(batch_reduction(f, last, together))
    return [torch.cat(x, dim=1) for x in zip(*X, strict=True)]


def iterations(N: int, at_once: int) -> list[int]:
    """The clips of each pass; what is left over comes first, for the last pass is not re-run."""
    rest = N % at_once
    return [rest] * bool(rest) + [at_once] * (N // at_once)


ENCODINGS: dict[str, Callable[..., list[Tensor]]] = {
    f.__name__: f for f in (batch_reduction, multi_iteration)
}


def build_encode(cfg: CfgNode) -> Encode:
    encode = ENCODINGS[cfg.VIDEO.STRATEGY]
    if encode is multi_iteration:
        return partial(multi_iteration, at_once=cfg.VIDEO.CLIPS_AT_ONCE)
    return encode
