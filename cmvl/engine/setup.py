"""The first lines of every job: seed, device, output folder, what runs where."""

import os
import random
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode

from cmvl import __version__
from cmvl.config import dump_cfg
from cmvl.utils.errors import ConfigError
from cmvl.utils.logging import logger, setup_logging


def setup(cfg: CfgNode, job: str) -> torch.device:
    """Start a job ("train" or "test") in OUTPUT_DIR and return the device it runs on."""
    output_dir = Path(cfg.OUTPUT_DIR)
    setup_logging(output_dir)
    dump_cfg(cfg, output_dir / f"config_{job}.yaml")
    device = _device(cfg)
    random.seed(cfg.RNG_SEED)
    np.random.seed(cfg.RNG_SEED)
    torch.manual_seed(cfg.RNG_SEED)
    gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if gpu else f"CPU, {torch.get_num_threads()} threads"
    logger.info("cmvl %s, torch %s, %s", __version__, torch.__version__, name)
    logger.info("%s in %s", job, output_dir.resolve())
    return device


def _device(cfg: CfgNode) -> torch.device:
    if cfg.NUM_GPUS == 0:
        if "OMP_NUM_THREADS" not in os.environ:
            # More threads than free cores wait for each other: tens of times slower, not faster.
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
            torch.set_num_threads(max(1, cores - cfg.DATA_LOADER.NUM_WORKERS))
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(
            f"NUM_GPUS is {cfg.NUM_GPUS}, but torch {torch.__version__} sees no CUDA device: "
            "set NUM_GPUS 0 to run on the CPU, or mend the driver"
        )
    return torch.device("cuda")
