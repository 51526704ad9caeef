"""Time and memory of a training step: without and with the memory, both strategies, a peer."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from fvcore.common.config import CfgNode
from torch.profiler import ProfilerActivity, profile

from cmvl.benchmarks.step import (
    Step,
    Work,
    added_mib,
    our_step,
    peers_step,
    precision_of,
    seconds_of,
)

BARE, MEMORY, PEER = "no memory", "memory", "pytorchvideo"
OURS = {  # what is changed in the config
    BARE: ("MEMORY.INTERACTION", "NoMemory"),
    MEMORY: (),
    "memory, multi-iteration": ("VIDEO.STRATEGY", "multi_iteration"),
}
HALF = ("TRAIN.PRECISION", "bfloat16")
LAST, COMPILED = ("MODEL.CHANNELS_LAST", "True"), ("MODEL.COMPILE", "True")
WAYS = {  # of computing
    "configured": (),
    "float32": ("TRAIN.PRECISION", "float32", "MODEL.TF32", "False"),
    "tf32": ("TRAIN.PRECISION", "float32", "MODEL.TF32", "True"),
    "bfloat16": HALF,
    "bfloat16+channels_last": HALF + LAST,
    "bfloat16+compile": HALF + COMPILED,
    "bfloat16+channels_last+compile": HALF + LAST + COMPILED,
}
WARM_UP = 1  # steps that do not count; the first compiles
MATRIX = {"cpu": 1024, "cuda": 8192}  # side of those that measure the ceiling
BACKWARD = 2  # forward passes


def step_table(
    work: Work, ways: Sequence[str], repeats: int, flops: Callable[[CfgNode], float]
) -> list[dict]:
    """Rows: way, cell, milliseconds a clip, that against the way's first row, clips a second,
    TFLOP/s of the model's forward and backward, their share of what matrices reach, MiB that a
    step adds.

    All take the same clips; the least of several interleaved repeats counts. On a CPU it is the
    processor's time, which other jobs disturb least. `flops`: of one clip's forward pass.
    """
    peaks = {(way, name): _peak(work, way, name) for way in ways for name in OURS}
    steps = {(way, name): step for way in ways for name, step in steps_of(work, way).items()}
    least = dict.fromkeys(steps, float("inf"))
    for repeat in range(WARM_UP + repeats):
        for key, step in steps.items():
            seconds = seconds_of(step, work.device)
            least[key] = min(least[key], seconds) if repeat >= WARM_UP else least[key]
    ceilings = {way: matrix_rate(work, way) for way in ways}
    rows = []
    for (way, name), seconds in least.items():
        rate = work.videos * work.clips / seconds
        cfg = work.cfg((*WAYS[way], *OURS.get(name, OURS[BARE])))
        reached = (1 + BACKWARD) * flops(cfg) * rate
        rows.append(
            {
                "way": way,
                "cell": name,
                "ms": 1000 / rate,
                "ratio": seconds / least[way, BARE],
                "clips": rate,
                "tflops": reached / 1e12,
                "share": reached / ceilings[way],
                "MiB": peaks.get((way, name)),
            }
        )
    return rows


def steps_of(work: Work, way: str) -> dict[str, Step]:
    steps = {name: our_step(work, (*WAYS[way], *changes)) for name, changes in OURS.items()}
    if find_spec(PEER):
        steps[PEER] = peers_step(work, (*WAYS[way], *OURS[BARE]))
    return steps


def _peak(work: Work, way: str, name: str) -> float | None:
    """Not of a compiled step on a CPU: there the compiler's memory is the process's too."""
    if work.device.type == "cpu" and work.cfg(WAYS[way]).MODEL.COMPILE:
        return None
    return added_mib(work, (*WAYS[way], *OURS[name]))


def matrix_rate(work: Work, way: str, repeats: int = 5) -> float:
    """FLOPs a second of a product of large matrices in the way's numbers: the ceiling."""
    cfg, side = work.cfg(WAYS[way]), MATRIX[work.device.type]
    dtype = precision_of(work, cfg).half or torch.float32
    a = torch.randn(side, side, device=work.device, dtype=dtype)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = cfg.MODEL.TF32
    try:
        least = min(seconds_of(lambda: a @ a, work.device) for _ in range(WARM_UP + repeats))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * side**3 / least


def as_text(rows: Sequence[dict]) -> str:
    """A Markdown table."""
    head = "way,,ms a clip,/ no memory,clips/s,TFLOP/s,of matrices',MiB of a step".split(",")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        peak = "" if row["MiB"] is None else f"{row['MiB']:.0f}"
        cells = [row["way"], row["cell"], f"{row['ms']:.4g}", f"{row['ratio']:.3f}"]
        cells += [f"{row['clips']:.3g}", f"{row['tflops']:.3g}", f"{row['share']:.0%}", peak]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def where_time_goes(work: Work, way: str, rows: int = 12) -> str:
    """Torch's operations of a step with memory, the dearest first."""
    step, cuda = our_step(work, WAYS[way]), work.device.type == "cuda"
    seconds_of(step, work.device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as record:
        seconds_of(step, work.device)
    key = "self_device_time_total" if cuda else "self_cpu_time_total"
    events = sorted(record.key_averages(), key=lambda e: getattr(e, key), reverse=True)
    total = sum(getattr(event, key) for event in events)
    lines = [f"{way}, with memory:"]
    for event in events[:rows]:
        share = getattr(event, key) / total
        lines.append(f"  {share:6.1%}  {event.count:5} x  {event.key}")
    return "\n".join(lines)
