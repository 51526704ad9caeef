"""One training at a time in a folder: who has it is told, and loses it with the process."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cmvl.config import load_cfg
from cmvl.engine import claim
from cmvl.engine import train as training
from cmvl.utils.errors import ConfigError
from cmvl.utils.logging import logger

ROOT = Path(__file__).parent.parent
HOLD = """
import os, sys, time
from pathlib import Path
from cmvl.engine.claim import claimed
with claimed(Path(sys.argv[1])):
    child = os.fork()  # as a data worker
    if child:
        print(child, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """A process that trains in the folder, and a child of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    child = int(process.stdout.readline())
    yield process
    process.kill()
    process.wait()
    os.kill(child, signal.SIGKILL)


@pytest.fixture
def looks(monkeypatch):
    """Taken without a clock."""
    taken = []
    monkeypatch.setattr(claim.time, "sleep", taken.append)
    return taken


def test_a_second_one_is_refused(other, looks, tmp_path):
    told = f"OUTPUT_DIR {tmp_path} .process {other.pid} of .*, since 2.*: choose another"
    with pytest.raises(ConfigError, match=told), claim.claimed(tmp_path):
        pass
    assert looks == [1] * claim.LOOKS


def test_a_killed_ones_folder_is_free_whatever_its_children_do(other, looks, tmp_path):
    other.kill()
    other.wait()
    with claim.claimed(tmp_path):
        assert f"process {os.getpid()} of" in (tmp_path / claim.NAME).read_text()
    assert not looks


def test_one_that_is_about_to_end_is_waited_for(other, monkeypatch, tmp_path):
    def end(seconds):
        other.kill()
        other.wait()

    monkeypatch.setattr(claim.time, "sleep", end)
    with claim.claimed(tmp_path):
        pass


def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(logger, "propagate", True)
    with claim.claimed(tmp_path):
        assert "this file system has no locks (No locks available)" in caplog.text


def test_training_claims_its_folder_before_it_touches_a_checkpoint(
    other, looks, demo_data, tmp_path
):
    half = tmp_path / "checkpoints" / "checkpoint_epoch_00001.tmp"  # the other one's writing
    half.parent.mkdir()
    half.touch()
    small = (
        "MODEL.NUM_CLASSES 2 RESNET.DEPTH 18 RESNET.STAGE_BLOCKS [1,1,1,1] "
        "RESNET.WIDTH_PER_GROUP 4 NUM_GPUS 0 DATA_LOADER.NUM_WORKERS 0 TRAIN.BATCH_SIZE 4"
    ).split()
    places = ["OUTPUT_DIR", str(tmp_path), "DATA.PATH_TO_DATA_DIR", str(demo_data / "relation")]
    with pytest.raises(ConfigError, match="another training runs in OUTPUT_DIR"):
        training.train(load_cfg(None, [*small, *places]))
    assert half.exists()
