"""Time and memory of a training step: without and with the memory, both strategies, a peer."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from fvcore.common.config import CfgNode
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from cmvl.benchmarks.step import (
    Step,
    Work,
    added_mib,
    our_step,
    peers_step,
    precision_of,
    seconds_of,
    step_mib,
)
from cmvl.engine.precision import allow_tf32

BARE, MEMORY, PEER = "no memory", "memory", "pytorchvideo"
OURS = {  # what is changed in the config
    BARE: ("MEMORY.INTERACTION", "NoMemory"),
    MEMORY: (),
    "memory, multi-iteration": ("VIDEO.STRATEGY", "multi_iteration"),
}
CELLS = (*OURS, PEER)
HALF, TF32 = ("TRAIN.PRECISION", "bfloat16"), ("TRAIN.PRECISION", "float32", "MODEL.TF32", "True")
PLAIN, LAST = (("MODEL.MEMORY_FORMAT", name) for name in ("contiguous", "channels_last"))
COMPILED = ("MODEL.COMPILE", "True")
WAYS = {  # of computing
    "configured": (),
    "float32": ("TRAIN.PRECISION", "float32", "MODEL.TF32", "False", *PLAIN),
    "tf32": TF32 + PLAIN,
    "tf32+channels_last": TF32 + LAST,
    "bfloat16": HALF + PLAIN,
    "bfloat16+channels_last": HALF + LAST,
    "bfloat16+compile": HALF + PLAIN + COMPILED,
    "bfloat16+channels_last+compile": HALF + LAST + COMPILED,
}
WIDE = 100  # characters of a kernel's name
WARM_UP = 1  # steps that do not count; the first compiles
MATRIX = {"cpu": 1024, "cuda": 8192}  # side of those that measure the ceiling
BACKWARD = 2  # forward passes


def step_table(
    work: Work,
    ways: Sequence[str],
    repeats: int,
    flops: Callable[[CfgNode], float],
    cells: Sequence[str] = CELLS,
) -> list[dict]:
    """Rows: way, cell, milliseconds a clip, that against the way's first row, clips a second,
    TFLOP/s of the model's forward and backward, their share of what matrices reach, MiB that a
    step adds.

    All take the same clips; the least of several interleaved repeats counts. On a CPU it is the
    processor's time, which other jobs disturb least. `flops`: of one clip's forward pass.
    """
    cells = [name for name in cells if name in OURS or find_spec(name)]
    steps = {(way, name): step_of(work, way, name) for way in ways for name in cells}
    least = dict.fromkeys(steps, float("inf"))
    for repeat in range(WARM_UP + repeats):
        for key, step in steps.items():
            seconds = seconds_of(step, work.device)
            least[key] = min(least[key], seconds) if repeat >= WARM_UP else least[key]
    peaks = {key: _peak(work, *key, step) for key, step in steps.items()}
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
                "ratio": seconds / least[way, cells[0]],
                "clips": rate,
                "tflops": reached / 1e12,
                "share": reached / ceilings[way],
                "MiB": peaks[way, name],
            }
        )
    return rows


def step_of(work: Work, way: str, name: str) -> Step:
    make = our_step if name in OURS else peers_step
    return make(work, (*WAYS[way], *OURS.get(name, OURS[BARE])))


def _peak(work: Work, way: str, name: str, step: Step) -> float | None:
    """On a CPU not of the peer, nor of a compiled step: the compiler's memory is the process's."""
    if work.device.type == "cuda":
        return step_mib(step, work.device)
    if name not in OURS or work.cfg(WAYS[way]).MODEL.COMPILE:
        return None
    return added_mib(work, (*WAYS[way], *OURS[name]))


def matrix_rate(work: Work, way: str, repeats: int = 5) -> float:
    """FLOPs a second of a product of large matrices in the way's numbers: the ceiling."""
    cfg, side = work.cfg(WAYS[way]), MATRIX[work.device.type]
    dtype = precision_of(work, cfg).half or torch.float32
    a = torch.randn(side, side, device=work.device, dtype=dtype)
    allow_tf32(cfg.MODEL.TF32)
    least = min(seconds_of(lambda: a @ a, work.device) for _ in range(WARM_UP + repeats))
    return 2 * side**3 / least


def as_text(rows: Sequence[dict]) -> str:
    """A Markdown table."""
    head = "way,,ms a clip,/ first,clips/s,TFLOP/s,of matrices',MiB of a step".split(",")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        peak = "" if row["MiB"] is None else f"{row['MiB']:.0f}"
        cells = [row["way"], row["cell"], f"{row['ms']:.4g}", f"{row['ratio']:.3f}"]
        cells += [f"{row['clips']:.3g}", f"{row['tflops']:.3g}", f"{row['share']:.0%}", peak]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def where_time_goes(work: Work, way: str, rows: int = 12) -> str:
    """Torch's operations, on a GPU kernels, of a step with memory, the dearest first."""
    step, cuda = our_step(work, WAYS[way]), work.device.type == "cuda"
    seconds_of(step, work.device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as record:
        seconds_of(step, work.device)
    key = "self_device_time_total" if cuda else "self_cpu_time_total"
    where = DeviceType.CUDA if cuda else DeviceType.CPU  # kernels, or torch's operations
    events = [event for event in record.key_averages() if event.device_type == where]
    events.sort(key=lambda event: getattr(event, key), reverse=True)
    total = sum(getattr(event, key) for event in events)
    lines = [f"{way}, with memory:"]
    for event in events[:rows]:
        share = getattr(event, key) / total
        lines.append(f"  {share:6.1%}  {event.count:5} x  {event.key[:WIDE]}")
    return "\n".join(lines)
