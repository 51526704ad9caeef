"""Time and memory of a training step: without and with the memory, both strategies, a peer."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ctypes.util import find_library
from importlib.util import find_spec

import torch
from fvcore.common.config import CfgNode
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from cmvl.benchmarks.apart import StepApart
from cmvl.benchmarks.step import (
    STRATEGIES,
    Cost,
    StepHere,
    Work,
    cost_of,
    our_step,
    peers_step,
    precision_of,
)
from cmvl.engine.precision import allow_tf32
from cmvl.utils.errors import ConfigError

BARE, MEMORY, PEER = "no memory", "memory", "pytorchvideo"
OURS = {  # what is changed in the config
    BARE: ("MEMORY.INTERACTION", "NoMemory"),
    MEMORY: STRATEGIES["batch reduction"],
    "memory, multi-iteration": STRATEGIES["multi-iteration"],
    "memory, 2 clips at once": STRATEGIES["2 clips at once"],
}
CELLS = (*OURS, PEER)
USUAL = tuple(name for name in CELLS if "at once" not in name)  # 2 of 2 are batch reduction
Key = tuple[str, str]  # way and cell
HALF, TF32 = ("TRAIN.PRECISION", "bfloat16"), ("TRAIN.PRECISION", "float32", "MODEL.TF32", "True")
PLAIN, LAST = (("MODEL.MEMORY_FORMAT", name) for name in ("contiguous", "channels_last"))
COMPILED = ("MODEL.COMPILE", "True")
WAYS = {  # of computing
    "configured": (),
    "small pages": (),  # see ENVIRONMENTS
    "tcmalloc": (),
    "float32": ("TRAIN.PRECISION", "float32", "MODEL.TF32", "False", *PLAIN),
    "tf32": TF32 + PLAIN,
    "tf32+channels_last": TF32 + LAST,
    "bfloat16": HALF + PLAIN,
    "bfloat16+channels_last": HALF + LAST,
    "bfloat16+compile": HALF + PLAIN + COMPILED,
    "bfloat16+channels_last+compile": HALF + LAST + COMPILED,
}
ENVIRONMENTS = {  # of a row's process
    "small pages": {"THP_MEM_ALLOC_ENABLE": "0"},
    "tcmalloc": {"LD_PRELOAD": "libtcmalloc_minimal.so.4"},
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
    cells: Sequence[str] = USUAL,
) -> list[dict]:
    """Rows: way, cell, milliseconds a clip, the kernel's share of them, that against the way's
    first row, clips a second, TFLOP/s of the model's forward and backward, their share of what
    matrices reach, MiB that steps add.

    All take the same clips; the least of several interleaved repeats counts. On a CPU it is the
    processor's time, which other jobs disturb least, and each row has a process of its own.
    `flops`: of one clip's forward pass.
    """
    cells = [name for name in cells if name in OURS or find_spec(name)]
    costs = _costs(work, [(way, name) for way in ways for name in cells], repeats)
    ceilings = {way: matrix_rate(work, way) for way in ways}
    rows = []
    for (way, name), (cost, mib) in costs.items():
        rate = work.videos * work.clips / cost.seconds
        cfg = work.cfg(changes_of(way, name))
        # On a CPU a compiler's memory is the process's.
        tells = work.device.type == "cuda" or not cfg.MODEL.COMPILE
        reached = (1 + BACKWARD) * flops(cfg) * rate
        rows.append(
            {
                "way": way,
                "cell": name,
                "ms": 1000 / rate,
                "system": cost.system / cost.seconds,
                "ratio": cost.seconds / costs[way, cells[0]][0].seconds,
                "clips": rate,
                "tflops": reached / 1e12,
                "share": reached / ceilings[way],
                "MiB": mib if tells else None,
            }
        )
    return rows


def _costs(work: Work, keys: Sequence[Key], repeats: int) -> dict[Key, tuple[Cost, float]]:
    """The least cost of each step, and the MiB that it adds."""
    with ExitStack() as stack:
        steps = {key: stack.enter_context(step_of(work, *key)) for key in keys}
        costs: dict[Key, list[Cost]] = {key: [] for key in keys}
        for _ in range(WARM_UP + repeats):
            for key, step in steps.items():
                costs[key].append(step.take())
    return {key: (min(costs[key][WARM_UP:]), step.mib) for key, step in steps.items()}


def step_of(work: Work, way: str, name: str) -> StepApart | StepHere:
    make = our_step if name in OURS else peers_step
    if work.device.type == "cuda":
        return StepHere(make, work, changes_of(way, name))
    return StepApart(make, work, changes_of(way, name), ENVIRONMENTS.get(way, {}))


def refuse_impossible(work: Work, ways: Sequence[str], profiled: bool = False) -> None:
    """Ways that need a process of their own, where the step has none."""
    if "tcmalloc" in ways and not find_library("tcmalloc_minimal"):
        # Of a library to preload that is not there the loader only warns.
        raise ConfigError(
            "--ways 'tcmalloc' needs libtcmalloc_minimal (Debian's libtcmalloc-minimal4): install "
            "it, or leave the way out"
        )
    for way in (way for way in ways if way in ENVIRONMENTS):
        if work.device.type == "cuda":
            raise ConfigError(f"--ways {way!r} is for CPUs: add --opts NUM_GPUS 0, or leave it out")
        if profiled:
            given = " ".join(f"{name}={value}" for name, value in ENVIRONMENTS[way].items())
            raise ConfigError(
                f"--profile looks at this process, which --ways {way!r} cannot change any more: "
                f"leave it out and start the command with {given}"
            )


def changes_of(way: str, name: str) -> tuple[str, ...]:
    return (*WAYS[way], *OURS.get(name, OURS[BARE]))


def matrix_rate(work: Work, way: str, repeats: int = 5) -> float:
    """FLOPs a second of a product of large matrices in the way's numbers: the ceiling."""
    cfg, side = work.cfg(WAYS[way]), MATRIX[work.device.type]
    dtype = precision_of(work, cfg).half or torch.float32
    a = torch.randn(side, side, device=work.device, dtype=dtype)
    allow_tf32(cfg.MODEL.TF32)
    least = min(cost_of(lambda: a @ a, work.device).seconds for _ in range(WARM_UP + repeats))
    return 2 * side**3 / least


def as_text(rows: Sequence[dict]) -> str:
    """A Markdown table."""
    head = "way,,ms a clip,system,/ first,clips/s,TFLOP/s,of matrices',MiB of a step".split(",")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row["way"], row["cell"], f"{row['ms']:.4g}", f"{row['system']:.0%}"]
        cells += [f"{row['ratio']:.3f}", f"{row['clips']:.3g}", f"{row['tflops']:.3g}"]
        cells += [f"{row['share']:.0%}", "" if row["MiB"] is None else f"{row['MiB']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def where_time_goes(work: Work, way: str, rows: int = 12) -> str:
    """Torch's operations, on a GPU kernels, of a step with memory, the dearest first."""
    step, cuda = our_step(work, WAYS[way]), work.device.type == "cuda"
    cost_of(step, work.device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as record:
        cost_of(step, work.device)
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
