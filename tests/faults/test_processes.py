"""The same for runs of several processes, and for runs that go on with another number of them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fault_jobs import EVERY_STEP, Blow, copied, nth_video, numbers, said, train
from test_kills import assert_undisturbed

from cmvl.launch.signals import STOPPED

TWO = ("DIST.PROCESSES", 2, "BN.SYNC", True)


@pytest.fixture(scope="module")
def two_undisturbed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("two") / "run"
    assert train(folder, data, *TWO) == 0, said(folder)
    return folder


def test_killed_by_turns(tmp_path, data, two_undisturbed):
    """The main process amid a checkpoint, the other one amid a step; then both asked to stop."""
    run = tmp_path / "run"
    assert train(run, data, *TWO, *EVERY_STEP, blow=Blow("half", 4)) == 1, said(run)
    assert "rank 0 was killed by SIGKILL" in said(run)
    assert train(run, data, *TWO, *EVERY_STEP, blow=Blow("update", 5, rank=1)) == 1, said(run)
    assert "rank 1 was killed by SIGKILL" in said(run)
    stop = Blow("step", 3, signal.SIGUSR1, rank=1)
    assert train(run, data, *TWO, blow=stop) == STOPPED, said(run)
    assert train(run, data, *TWO) == 0, said(run)
    assert "after 1 epochs and 8 videos" in said(run)
    assert_undisturbed(run, two_undisturbed)


def test_asked_to_stop_in_an_evaluation_they_end_together(tmp_path, data, two_undisturbed):
    """One hears it alone; the other has done its share and waits. Schedulers look at the status."""
    run = tmp_path / "run"
    stop = Blow("evaluation", 2, signal.SIGTERM, rank=1)
    assert train(run, data, *TWO, *EVERY_STEP, blow=stop) == STOPPED, said(run)
    assert train(run, data, *TWO) == 0, said(run)
    assert_undisturbed(run, two_undisturbed)


def test_torchrun_starts_a_failed_run_again(tmp_path, data, two_undisturbed):
    run, job = tmp_path / "run", Path(__file__).parent / "elastic_job.py"
    run.mkdir()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [*torchrun, "--max-restarts=1", job, run, data, *TWO, *EVERY_STEP]
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{here.parents[1]}:{here}"}
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "resumed" in done.stdout and "after 0 epochs and 8 videos" in done.stdout
    assert_undisturbed(run, two_undisturbed)


def test_going_on_with_another_number_of_processes(tmp_path, data):
    """At the same video; with no chance in the net and norms over all, with the same numbers."""
    # A batch norm over the 2 gates of a step magnifies roundings.
    alike = ("MODEL.DROPOUT_RATE", 0.0, "SOLVER.BASE_LR", 0.01, "MEMORY.NORM", "layer")
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(whole, data, *alike) == 0, said(whole)
    stop = Blow("step", 3, signal.SIGTERM)
    assert train(run, data, *alike, *TWO, blow=stop) == STOPPED, said(run)
    assert train(run, data, *alike) == 0, said(run)
    assert "2 processes wrote it, 1 go on: at the same video" in said(run)
    assert "after 0 epochs and 6 videos" in said(run)
    assert len(numbers(run)) == len(numbers(whole))
    first = zip(numbers(run)[:3], numbers(whole), strict=False)  # later roundings have grown
    for line, expected in first:
        assert line.pop("kind") == expected.pop("kind")
        assert line == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_one_that_cannot_read_its_videos_costs_nothing(tmp_path, data, two_undisturbed):
    """The other one has its own, and saves with it."""
    run, here = tmp_path / "run", copied(data, tmp_path / "data")
    video = nth_video(here, place=7)  # the second one's, of the fourth step
    video.rename(video.with_suffix(".away"))
    assert train(run, here, *TWO, "DATA.MAX_RESAMPLES", 0) == 1, said(run)
    assert f"{video}: expected a video file, found nothing there" in said(run)
    video.with_suffix(".away").rename(video)
    assert train(run, here, *TWO) == 0, said(run)
    assert "after 0 epochs and 6 videos" in said(run)
    assert_undisturbed(run, two_undisturbed)
