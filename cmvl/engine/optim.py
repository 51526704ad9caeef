"""SGD, its parameter groups, and the learning rate as a function of the epoch."""

import bisect
import math
from collections.abc import Callable

from fvcore.common.config import CfgNode
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import SGD, Optimizer

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> SGD:
    """SGD over what learns; parameters of normalisation layers have `BN.WEIGHT_DECAY`."""
    norms = [p for m in model.modules() if isinstance(m, NORMS) for p in m.parameters(False)]
    marked = set(map(id, norms))
    others = [p for p in model.parameters() if id(p) not in marked]
    norms, others = ([p for p in group if p.requires_grad] for group in (norms, others))
    groups = [
        {"params": norms, "weight_decay": cfg.BN.WEIGHT_DECAY},
        {"params": others, "weight_decay": cfg.SOLVER.WEIGHT_DECAY},
    ]
    return SGD(
        [group for group in groups if group["params"]],
        lr=cfg.SOLVER.BASE_LR,
        momentum=cfg.SOLVER.MOMENTUM,
        dampening=cfg.SOLVER.DAMPENING,
        nesterov=cfg.SOLVER.NESTEROV,
    )


def build_schedule(cfg: CfgNode, scale: float) -> Callable[[float], float]:
    """`lr_at(epoch)`, fractions allowed; `scale` is the batch plan's linear scaling.

    A linear warm-up leads to the policy's value at its end (PySlowFast's rule): with a cosine
    that starts at epoch 0 the peak lies below BASE_LR.
    """
    solver = cfg.SOLVER
    policy = {"cosine": _cosine, "steps_with_relative_lrs": _steps}[solver.LR_POLICY](solver)
    warmup, start = solver.WARMUP_EPOCHS, solver.WARMUP_START_LR

    def lr_at(epoch: float) -> float:
        if epoch < warmup:
            return scale * (start + (policy(warmup) - start) * epoch / warmup)
        return scale * policy(epoch)

    return lr_at


def _cosine(solver: CfgNode) -> Callable[[float], float]:
    offset = solver.WARMUP_EPOCHS if solver.COSINE_AFTER_WARMUP else 0.0
    span, low = solver.MAX_EPOCH - offset, solver.COSINE_END_LR
    height = (solver.BASE_LR - low) * 0.5
    return lambda epoch: low + height * (1 + math.cos(math.pi * (epoch - offset) / span))


def _steps(solver: CfgNode) -> Callable[[float], float]:
    """Stage j lasts from STEPS[j] up to, not including, STEPS[j + 1]."""
    starts = list(solver.STEPS)
    return lambda epoch: solver.BASE_LR * solver.LRS[bisect.bisect_right(starts, epoch) - 1]


def set_lr(optimizer: Optimizer, lr: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr
