"""Time and memory of a training step: without and with the memory, both strategies, a peer."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.benchmarks.memory import fresh_peak
from cmvl.config import load_cfg
from cmvl.model import build_model
from cmvl.tasks import find_task

BARE = "no memory"
OURS = {  # what is changed in the config
    BARE: ("MEMORY.INTERACTION", "NoMemory"),
    "memory": (),
    "memory, multi-iteration": ("VIDEO.STRATEGY", "multi_iteration"),
}
PEER = "pytorchvideo"
MEAN, STD = 0.45, 0.225


@dataclass(frozen=True)
class Work:
    """A step's input: `videos` x `clips` of the config's size, and its device."""

    file: str
    opts: tuple[str, ...]
    videos: int
    clips: int

    def cfg(self, changes: Sequence[str] = ()) -> CfgNode:
        pairs = ["VIDEO.NUM_CLIPS", str(self.clips), "VIDEO.STRATEGY", "batch_reduction"]
        return load_cfg(self.file, [*pairs, *self.opts, *changes])


def step_table(work: Work, repeats: int) -> list[dict]:
    """Rows: cell, milliseconds a clip, that against the first row, MiB that a step adds.

    Forward and backward of the same clips; the least of several interleaved repeats, after one
    that does not count. On a CPU it is the processor's time, which other jobs disturb least.
    """
    # First, while this process is small: a new one starts with its parent's peak.
    peaks = {name: _peak(work, changes) for name, changes in OURS.items()}
    steps = {name: our_step(work, changes) for name, changes in OURS.items()}
    if find_spec(PEER):
        steps[PEER] = peers_step(work)
    device = _device(work)
    least = dict.fromkeys(steps, float("inf"))
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            seconds = seconds_of(step, device)
            least[name] = min(least[name], seconds) if repeat else least[name]
    clips = work.videos * work.clips
    return [
        {
            "cell": name,
            "ms": 1000 * seconds / clips,
            "ratio": seconds / least[BARE],
            "MiB": peaks.get(name),  # of the peer not measured
        }
        for name, seconds in least.items()
    ]


def our_step(work: Work, changes: Sequence[str]) -> Callable[[], None]:
    cfg, device = work.cfg(changes), _device(work)
    task = find_task(cfg.TASK)
    model, loss = build_model(cfg, task.head).to(device).train(), task.loss(cfg)
    clips, labels = _input(work)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        loss(model(clips), labels)["loss"].backward()

    return step


def peers_step(work: Work) -> Callable[[], None]:
    """The same net of pytorchvideo, on clips of floats that it takes as it gets them."""
    model = peer(work).to(_device(work)).train()
    clips, labels = _input(work)
    flat = ((clips.flatten(0, 1).float() / 255) - MEAN) / STD
    labels = labels.repeat_interleave(work.clips)
    cfg = work.cfg()
    frames: Tensor | list[Tensor] = flat
    if cfg.MODEL.BACKBONE == "SlowFast":
        frames = [flat[:, :, :: cfg.SLOWFAST.ALPHA].contiguous(), flat]

    def step() -> None:
        model.zero_grad(set_to_none=True)
        # It pools inside its pathways and keeps those it is given in a list of its own.
        given = list(frames) if isinstance(frames, list) else frames
        F.cross_entropy(model(given), labels).backward()

    return step


def peer(work: Work) -> nn.Module:
    """pytorchvideo's Slow-only or SlowFast of the config's depth, for its size of crop."""
    from pytorchvideo.models.resnet import create_resnet
    from pytorchvideo.models.slowfast import create_slowfast

    cfg = work.cfg()
    side, T = -(-cfg.DATA.TRAIN_CROP_SIZE // 32), cfg.DATA.NUM_FRAMES
    sizes = {"model_depth": cfg.RESNET.DEPTH, "model_num_class": cfg.MODEL.NUM_CLASSES}
    if cfg.MODEL.BACKBONE == "SlowFast":
        pools = ((T // cfg.SLOWFAST.ALPHA, side, side), (T, side, side))
        return create_slowfast(head_pool_kernel_sizes=pools, **sizes)
    return create_resnet(
        stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=(T, side, side), **sizes
    )


def _input(work: Work) -> tuple[Tensor, Tensor]:
    cfg, device = work.cfg(), _device(work)
    side = cfg.DATA.TRAIN_CROP_SIZE
    shape = (work.videos, work.clips, 3, cfg.DATA.NUM_FRAMES, side, side)
    torch.manual_seed(0)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    return clips, torch.zeros(work.videos, dtype=torch.int64, device=device)


def _device(work: Work) -> torch.device:
    return torch.device("cuda" if work.cfg().NUM_GPUS else "cpu")


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """On a CPU the processor's time, which other jobs disturb least."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def _peak(work: Work, changes: Sequence[str]) -> float:
    strategy = work.cfg(changes).VIDEO.STRATEGY
    return fresh_peak(work.file, (*work.opts, *changes), strategy, work.clips, work.videos)


def as_text(rows: Sequence[dict]) -> str:
    """A Markdown table."""
    lines = ["| | ms a clip | / no memory | MiB of a step |", "|---|---|---|---|"]
    for row in rows:
        peak = "" if row["MiB"] is None else f"{row['MiB']:.0f}"
        lines.append(f"| {row['cell']} | {row['ms']:.0f} | {row['ratio']:.3f} | {peak} |")
    return "\n".join(lines)
