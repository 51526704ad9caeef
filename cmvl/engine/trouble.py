"""What a run says when the device has no memory left: what it had, and what would fit."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from fvcore.common.config import CfgNode

from cmvl.config import batch_plan
from cmvl.config.plan import BatchPlan
from cmvl.utils.distributed import world_size
from cmvl.utils.errors import TrainingError, UserError


@contextmanager
def memory_advice(cfg: CfgNode, device: torch.device) -> Iterator[None]:
    """Inside, torch.OutOfMemoryError becomes a TrainingError with the settings to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(_advice(cfg, device)) from error


@contextmanager
def view_memory_advice(cfg: CfgNode, device: torch.device, halves: bool = True) -> Iterator[None]:
    """The same for tests and predictions, as a UserError. `halves`: TEST.PRECISION has a say."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        chunk, side = cfg.TEST.CHUNK, cfg.DATA.TEST_CROP_SIZE
        ways = [f"TEST.CHUNK below {chunk} (same scores)"] * (chunk > 1)
        if halves and cfg.TEST.PRECISION == "float32":
            ways.append("TEST.PRECISION bfloat16 (about half the memory)")
        ways.append("a GPU that no other program uses")
        raise UserError(
            f"out of memory with {chunk} views of {side} x {side} at a time on {device}."
            f"{_had(device)} What would need less, mildest first:\n  " + "\n  ".join(ways)
        ) from error


def _had(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    peak = torch.cuda.max_memory_allocated(device)
    return f" Peak {peak / 2**30:.1f} GiB of {total / 2**30:.1f}, {free / 2**30:.1f} free."


def _fewer_at_once(cfg: CfgNode, plan: BatchPlan) -> str:
    """The same step, in more iterations."""
    if cfg.VIDEO.STRATEGY == "multi_iteration":
        return f"VIDEO.CLIPS_AT_ONCE below {plan.at_once} (same gradients, somewhat more time)"
    one = " VIDEO.CLIPS_AT_ONCE 1" * (cfg.VIDEO.CLIPS_AT_ONCE > 1)
    return (
        f"VIDEO.STRATEGY multi_iteration{one} TRAIN.BATCH_SIZE {plan.step_videos}"
        f"{_rates(cfg, plan.lr_scale)} (activations of {plan.videos} clips at a time "
        f"instead of {plan.videos * plan.clips}, same gradients; up to a third more to compute, "
        "on a GPU up to twice the time)"
    )


def _rates(cfg: CfgNode, scale: float) -> str:
    """Settings that give `scale` times the learning rate, of those that have a part in it."""
    names = ["BASE_LR"]
    names += ["WARMUP_START_LR"] * (cfg.SOLVER.WARMUP_EPOCHS > 0)
    names += ["COSINE_END_LR"] * (cfg.SOLVER.LR_POLICY == "cosine" and cfg.SOLVER.COSINE_END_LR > 0)
    return "".join(f" SOLVER.{name} {cfg.SOLVER[name] * scale:.6g}" for name in names)


def _advice(cfg: CfgNode, device: torch.device) -> str:
    plan = batch_plan(cfg, world_size())
    ways = []
    if cfg.BN.CLIPWISE and plan.at_once > 1:  # else all clips have to be in one pass
        ways.append(_fewer_at_once(cfg, plan))
    if plan.videos > 1:
        ways.append(
            f"SOLVER.ACCUM_ITERS {2 * plan.passes} (half as many videos at a time; batch-norm "
            "statistics over as many fewer)"
        )
    if cfg.TRAIN.PRECISION == "float32" and device.type == "cuda":
        ways.append("TRAIN.PRECISION bfloat16 (about half the memory)")
    ways.append(f"TRAIN.BATCH_SIZE below {cfg.TRAIN.BATCH_SIZE} (the learning rate follows)")
    ways.append(f"in validations, TRAIN.EVAL_VIEWS or TEST.CHUNK below {cfg.TEST.CHUNK}")
    return (
        f"out of memory with {plan} on {device}.{_had(device)} What would need less, mildest "
        "first:\n  " + "\n  ".join(ways)
    )
