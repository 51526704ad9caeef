"""The optimizer, its parameter groups, and the learning rate as a function of the epoch."""

import bisect
import math
from collections.abc import Callable

from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import SGD, AdamW, Optimizer

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
Groups = list[dict[str, list[Tensor] | float]]


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """`SOLVER.OPTIMIZING_METHOD` over what learns; `set_lr` gives every step its rate."""
    build = {"sgd": _sgd, "adamw": _adamw}[cfg.SOLVER.OPTIMIZING_METHOD]
    return build(cfg.SOLVER, _groups(cfg, model))


def _sgd(solver: CfgNode, groups: Groups) -> SGD:
    return SGD(
        groups,
        lr=solver.BASE_LR,
        momentum=solver.MOMENTUM,
        dampening=solver.DAMPENING,
        nesterov=solver.NESTEROV,
    )


def _adamw(solver: CfgNode, groups: Groups) -> AdamW:
    return AdamW(groups, lr=solver.BASE_LR, betas=tuple(solver.BETAS))


def _groups(cfg: CfgNode, model: nn.Module) -> Groups:
    """Parameters of normalisation layers, with `BN.WEIGHT_DECAY`; the others; and, where
    `SOLVER.ZERO_WD_1D_PARAM` sets them apart, vectors and biases without any decay. All these
    twice, if `SOLVER.BACKBONE_LR_MULT` gives the backbone a rate of its own.
    """
    norms = {id(p) for m in model.modules() if isinstance(m, NORMS) for p in m.parameters(False)}
    decays, mult = (cfg.BN.WEIGHT_DECAY, cfg.SOLVER.WEIGHT_DECAY, 0.0), cfg.SOLVER.BACKBONE_LR_MULT
    groups: dict[tuple[float, int], dict[str, list[Tensor] | float]] = {
        (scale, kind): {"params": [], "weight_decay": decay, "lr_scale": scale}
        for scale in (1.0, mult)
        for kind, decay in enumerate(decays)
    }
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            vector = parameter.ndim < 2 or name.endswith(".bias")
            others = 2 if vector and cfg.SOLVER.ZERO_WD_1D_PARAM else 1
            kind = 0 if id(parameter) in norms else others
            scale = mult if name.startswith("backbone.") else 1.0
            groups[scale, kind]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


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


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Of every group in its own measure."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
