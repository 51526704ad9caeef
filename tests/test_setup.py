"""What a job begins with."""

import pytest
import torch

from cmvl.config import load_cfg
from cmvl.engine import setup as engine_setup


@pytest.mark.parametrize(
    ("opts", "torchrun", "threads"),
    [
        ("NUM_GPUS 0 DATA_LOADER.NUM_WORKERS 0", "", 32),
        ("NUM_GPUS 0 DATA_LOADER.NUM_WORKERS 8", "", 24),
        ("NUM_GPUS 0 DATA_LOADER.NUM_WORKERS 3 DIST.PROCESSES 4", "", 5),
        ("NUM_GPUS 0 DATA_LOADER.NUM_WORKERS 3", "4", 5),
        ("NUM_GPUS 8 DATA_LOADER.NUM_WORKERS 8", "", 1),
        ("NUM_GPUS 8 DATA_LOADER.NUM_WORKERS 2", "", 2),
    ],
)
def test_processes_and_workers_share_the_cores(opts, torchrun, threads, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(engine_setup, "cores", lambda: 32)
    monkeypatch.setattr(engine_setup, "find_device", lambda cfg: torch.device("cpu"))
    if torchrun:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", torchrun)
    engine_setup.setup(load_cfg(None, [*opts.split(), "OUTPUT_DIR", str(tmp_path)]), "train")
    assert torch.get_num_threads() == threads


def test_threads_that_were_asked_for_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(3)
    engine_setup.setup(load_cfg(None, ["NUM_GPUS", "0", "OUTPUT_DIR", str(tmp_path)]), "train")
    assert torch.get_num_threads() == 3
