"""Steps over several processes, measured."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from fvcore.common.config import CfgNode

from cmvl.benchmarks.step import made_up
from cmvl.config import load_cfg
from cmvl.engine.fast import build_fast
from cmvl.engine.optim import build_optimizer
from cmvl.engine.setup import build_crew, find_device
from cmvl.engine.step import build_stepper
from cmvl.launch import launch
from cmvl.model import build_model
from cmvl.structures import VideoBatch
from cmvl.tasks import find_task
from cmvl.utils.distributed import is_main, world_size

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
    device = find_device(cfg)
    if device.type == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    task = find_task(cfg.TASK)
    model = build_model(cfg, task.head).to(device).train()
    build_fast(cfg, model)
    step = build_stepper(cfg, model, build_optimizer(cfg, model), task.loss(cfg), device)
    clips, labels = made_up(cfg, videos, cfg.VIDEO.NUM_CLIPS, device)
    batch = VideoBatch(clips, labels, torch.arange(videos))
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
