"""A disk that takes no more ends a run with its last checkpoints whole."""

import subprocess

import pytest
from fault_jobs import EVERY_STEP, said, train
from test_kills import assert_undisturbed

from cmvl.checkpoint.folder import checkpoints, find_damage


def mount(*words):
    try:
        return subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs mount")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, with room for two checkpoints."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", folder)
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk, data, undisturbed):
    run = small_disk / "run"
    assert train(run, data, *EVERY_STEP, "TRAIN.CHECKPOINT_KEEP", 0) == 1, said(run)
    told = "plus_000000006.pyth: cannot be written, the disk is full. The checkpoints before"
    assert told in said(run) and "error: " in said(run) and "Traceback" not in said(run)
    assert [path.name[-7:-5] for path in checkpoints(run)] == ["02", "04"]
    assert all(find_damage(path) == "" for path in checkpoints(run))
    assert not list(run.rglob("*.tmp"))

    assert mount("-o", "remount,size=32m", small_disk).returncode == 0
    assert train(run, data) == 0, said(run)
    assert "after 0 epochs and 4 videos" in said(run)
    assert_undisturbed(run, undisturbed)
