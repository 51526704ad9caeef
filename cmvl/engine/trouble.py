"""What a run says when the device has no memory left: what it had, and what would fit."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from fvcore.common.config import CfgNode

from cmvl.config import batch_plan
from cmvl.utils.distributed import world_size
from cmvl.utils.errors import TrainingError


@contextmanager
def memory_advice(cfg: CfgNode, device: torch.device) -> Iterator[None]:
    """Inside, torch.OutOfMemoryError becomes a TrainingError with the settings to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(_advice(cfg, device)) from error


def _advice(cfg: CfgNode, device: torch.device) -> str:
    plan = batch_plan(cfg, world_size())
    had = ""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        peak = torch.cuda.max_memory_allocated(device)
        had = f" Peak {peak / 2**30:.1f} GiB of {total / 2**30:.1f}, {free / 2**30:.1f} free."
    ways = []
    if cfg.VIDEO.STRATEGY == "batch_reduction" and plan.clips > 1:
        ways.append(
            f"VIDEO.STRATEGY multi_iteration (activations of {plan.videos} clips at a time instead "
            f"of {plan.videos * plan.clips}, same gradients, up to a third more time)"
        )
    if (at_once := cfg.VIDEO.CLIPS_AT_ONCE) > 1:
        ways.append(f"VIDEO.CLIPS_AT_ONCE below {at_once} (same gradients, somewhat more time)")
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
        f"out of memory with {plan} on {device}.{had} What would need less, mildest first:\n  "
        + "\n  ".join(ways)
    )
