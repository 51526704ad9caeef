"""The first lines of every job: seed, device, output folder, what runs where."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode

from cmvl import __version__
from cmvl.checkpoint import Checkpointer, Position
from cmvl.config import dump_cfg
from cmvl.config.compare import check_alike, check_resume, compare_start
from cmvl.data.dataset import VideoDataset
from cmvl.engine.precision import allow_tf32, ask_for_repeatable
from cmvl.launch import Crew
from cmvl.utils.cores import cores
from cmvl.utils.distributed import broadcast, is_main, rank, who_am_i, world_size
from cmvl.utils.environment import command_line, device_name, versions
from cmvl.utils.errors import ConfigError
from cmvl.utils.logging import logger, printable, setup_logging
from cmvl.utils.runlog import write_start


def build_crew(cfg: CfgNode, shards: int = 1, shard: int = 0, meeting_point: str = "") -> Crew:
    """The processes a config asks for: on each of `shards` machines one per GPU, or one."""
    return Crew(
        processes=cfg.DIST.PROCESSES or max(1, cfg.NUM_GPUS),
        gpu=cfg.NUM_GPUS > 0,
        shards=shards,
        shard=shard,
        meeting_point=meeting_point,
        timeout=cfg.DIST.TIMEOUT,
        meeting=cfg.DIST.MEETING,
    )


def agree(cfg: CfgNode) -> None:
    """Raises ConfigError where the processes of a run have different settings.

    They would wait for each other for ever, or train apart without a word.
    """
    if world_size() > 1:
        check_alike(broadcast(cfg.dump()), cfg, who_am_i())


def setup(cfg: CfgNode, job: str) -> torch.device:
    """Start a job ("train" or "test") in OUTPUT_DIR and return the device it runs on."""
    output_dir = Path(cfg.OUTPUT_DIR)
    if output_dir.exists() and not output_dir.is_dir():
        raise ConfigError(f"OUTPUT_DIR {output_dir} is a file: name a folder, or a new one")
    if (shown := printable(cfg.OUTPUT_DIR)) != cfg.OUTPUT_DIR:
        raise ConfigError(
            f"OUTPUT_DIR {shown}: a name in UTF-8 is needed here, for TensorBoard and figures"
        )
    setup_logging(output_dir)
    device = find_device(cfg)
    _share_cores(cfg)
    random.seed(cfg.RNG_SEED)
    np.random.seed(cfg.RNG_SEED)
    torch.manual_seed(cfg.RNG_SEED)
    allow_tf32(cfg.MODEL.TF32)
    ask_for_repeatable(cfg.DETERMINISTIC)
    name = device_name(device)
    together = f"{world_size()} processes, each on " if world_size() > 1 else ""
    logger.info("cmvl %s, torch %s, %s%s", __version__, torch.__version__, together, name)
    logger.info("%s in %s", job, output_dir.resolve())
    return device


def record_start(cfg: CfgNode, job: str, data: VideoDataset, device: torch.device) -> None:
    """The effective config, and the log's line on what begins here: command, data, machine,
    versions. Not before it is sure to begin: a run's files are to tell of that run.
    """
    if is_main():
        dump_cfg(cfg, Path(cfg.OUTPUT_DIR) / f"config_{job}.yaml")
    about = {"command": command_line(), "folder": os.getcwd(), "device": device_name(device)}
    about |= {"data": str(data), "list": data.records.fingerprint[:16], "processes": world_size()}
    write_start(Path(cfg.OUTPUT_DIR), job, about | versions())


def begin(cfg: CfgNode, ckpt: Checkpointer) -> Position:
    """Where training begins; said are other settings than the weights', and if it is over.

    Raises ConfigError where a checkpoint is another net's.
    """

    def warning(look: Callable[[str, CfgNode], str]) -> Callable[[str], None]:
        def warn(text: str) -> None:
            if remark := look(text, cfg):
                logger.warning(remark)

        return warn

    allow, compare = warning(check_resume), warning(compare_start)
    start = ckpt.start(cfg.TRAIN.AUTO_RESUME, cfg.TRAIN.INIT_FROM, allow, compare)
    if start.epoch >= cfg.SOLVER.MAX_EPOCH:
        logger.info(
            "nothing to train: epoch %d of SOLVER.MAX_EPOCH %d is done. Raise it to go on, "
            "or choose another OUTPUT_DIR to begin anew",
            start.epoch,
            cfg.SOLVER.MAX_EPOCH,
        )
    return start


def setup_own_numbers(cfg: CfgNode) -> None:
    """From here on every process draws random numbers of its own; the weights are drawn by now."""
    if rank():
        torch.manual_seed(cfg.RNG_SEED + rank())


def find_device(cfg: CfgNode) -> torch.device:
    """The CPU, or this process's GPU. Raises ConfigError where there is none."""
    if cfg.NUM_GPUS == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(
            f"NUM_GPUS is {cfg.NUM_GPUS}, but torch {torch.__version__} sees no CUDA device: "
            "set NUM_GPUS 0 to run on the CPU, or mend the driver"
        )
    return torch.device("cuda", torch.cuda.current_device())


def _share_cores(cfg: CfgNode) -> None:
    """More threads than free cores wait for each other: tens of times slower, not faster."""
    if "OMP_NUM_THREADS" not in os.environ:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", build_crew(cfg).processes))
        torch.set_num_threads(max(1, cores() // here - cfg.DATA_LOADER.NUM_WORKERS))
