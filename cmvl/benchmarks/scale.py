"""Steps over several processes: measured on this machine, and calculated for others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from fvcore.common.config import CfgNode

from cmvl.config import batch_plan, load_cfg
from cmvl.engine.fast import build_fast
from cmvl.engine.optim import build_optimizer
from cmvl.engine.setup import build_crew
from cmvl.engine.step import build_stepper
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d
from cmvl.model import build_model
from cmvl.structures import VideoBatch
from cmvl.tasks import find_task
from cmvl.utils.distributed import is_main, world_size
from cmvl.utils.launch import launch

WARM_UP = 2  # steps


def measured(
    file: str, opts: Sequence[str], processes: Sequence[int], videos: int, steps: int
) -> dict[tuple[int, bool], float]:
    """Videos a second by (number of processes, BN.SYNC), each with `videos` a step.

    Clips are made up, so that nobody waits for data.
    """
    rates = {}
    for count in processes:
        for sync in (False, True):
            cfg = load_cfg(file, [*opts, "DIST.PROCESSES", str(count), "BN.SYNC", str(sync)])
            with TemporaryDirectory() as folder:
                launch(_run, [cfg, videos, steps, Path(folder) / "rate"], build_crew(cfg))
                rates[count, sync] = float((Path(folder) / "rate").read_text())
    return rates


def _run(cfg: CfgNode, videos: int, steps: int, result: Path) -> None:
    device = torch.device("cuda" if cfg.NUM_GPUS else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    task = find_task(cfg.TASK)
    model = build_model(cfg, task.head).to(device).train()
    build_fast(cfg, model)
    step = build_stepper(cfg, model, build_optimizer(cfg, model), task.loss(cfg), device)
    shape = (cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TRAIN_CROP_SIZE)
    clips = torch.randint(0, 256, (videos, cfg.VIDEO.NUM_CLIPS, 3, *shape), dtype=torch.uint8)
    labels = torch.arange(videos) % cfg.MODEL.NUM_CLASSES
    batch = VideoBatch(clips.to(device), labels.to(device), torch.arange(videos))
    for i in range(WARM_UP + steps):
        if i == WARM_UP:
            _finished(device)
            start = time.perf_counter()
        step([batch], 1e-4)
    _finished(device)
    if is_main():
        seconds = time.perf_counter() - start
        result.write_text(str(videos * world_size() * steps / seconds))


def _finished(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Machine:
    """What the calculation supposes; rates are what is reached, not what is printed on the box."""

    tflops: float = 300.0  # of one GPU in bfloat16, multiply-adds counted twice
    within: float = 300.0  # GB/s a GPU sends to its neighbours on one machine
    between: float = 40.0  # GB/s a machine sends to another one
    latency: float = 20e-6  # seconds of a small collective within a machine; three times between

    def __str__(self) -> str:
        return (
            f"{self.tflops:g} TFLOP/s of a GPU, {self.within:g} GB/s within a machine of 8, "
            f"{self.between:g} GB/s out of it, {1e6 * self.latency:g} us a small collective"
        )


@dataclass(frozen=True)
class Share:
    """Of a step on `gpus` GPUs of `nodes` machines, in milliseconds; traffic in MB a GPU."""

    gpus: int
    nodes: int
    videos: int
    compute: float
    gradient_mb: float
    gradients: float
    norms_mb: float
    norms: float

    @property
    def lost(self) -> float:
        """Percent of the time, if nothing of the traffic were hidden behind compute."""
        return 100 * (self.gradients + self.norms) / (self.compute + self.gradients + self.norms)


def on_paper(
    file: str,
    opts: Sequence[str],
    parameters: int,
    multiply_adds: float,
    nodes: int,
    machine: Machine,
) -> Share:
    """For `nodes` machines of 8 GPUs, with the config's clip budget as that of one machine.

    `multiply_adds`: of one clip at the training crop, forward; backward costs twice as much.
    Gradients are reduced in a ring, in which a GPU sends 2 (n - 1) / n of them. A synchronised
    norm is one collective of 2 N C numbers forward and one backward.
    """
    one = load_cfg(file, opts)
    cfg = load_cfg(file, [*opts, "TRAIN.BATCH_SIZE", str(nodes * one.TRAIN.BATCH_SIZE)])
    gpus, norms = 8 * nodes, _norms(cfg)
    plan = batch_plan(cfg, gpus)
    compute = 3 * 2 * multiply_adds * plan.videos * plan.clips * plan.passes
    ring = 2 * (gpus - 1) / gpus
    gradients = ring * 4 * parameters  # bytes
    statistics = ring * 2 * (2 * sum(norms) * plan.clips * plan.passes) * 4
    if nodes == 1:
        rate, latency = machine.within * 1e9, machine.latency
    else:  # the ring leaves each machine once
        rate, latency = machine.between * 1e9, 3 * machine.latency
    waits = 2 * len(norms) * plan.passes * latency
    return Share(
        gpus=gpus,
        nodes=nodes,
        videos=plan.step_videos,
        compute=1e3 * compute / (machine.tflops * 1e12),
        gradient_mb=gradients / 1e6,
        gradients=1e3 * gradients / rate,
        norms_mb=statistics / 1e6,
        norms=1e3 * (statistics / rate + waits),
    )


def _norms(cfg: CfgNode) -> list[int]:
    """Channels of every synchronised norm."""
    with torch.device("meta"):
        model = build_model(cfg, find_task(cfg.TASK).head)
    return [m.num_features for m in model.modules() if isinstance(m, ClipwiseBatchNorm3d)]
