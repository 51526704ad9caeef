"""A run that is killed, however often and wherever, ends as if nothing had happened."""

import random
import signal

import pytest
import torch
from fault_jobs import (
    EVERY_STEP,
    POINTS,
    Blow,
    copied,
    last_state,
    nth_video,
    numbers,
    said,
    train,
)

from cmvl.data.workers import start_method
from cmvl.launch.signals import STOPPED


def assert_same(one, other, place="state"):
    """To the last bit, whatever lies within."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{place}[{i}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    else:
        assert one == other, place


def assert_undisturbed(folder, undisturbed):
    assert numbers(folder) == numbers(undisturbed)
    assert_same(last_state(folder), last_state(undisturbed))
    assert not list((folder / "checkpoints").glob("*.tmp"))


@pytest.mark.parametrize("point", sorted(POINTS))
def test_killed_anywhere(point, tmp_path, data, undisturbed):
    """Amid an epoch, or in its evaluation; checkpoints of every step before that."""
    run = tmp_path / "run"
    count = {"end": 2, "evaluation": 2, "line": 6}.get(point, 9)
    assert train(run, data, *EVERY_STEP, blow=Blow(point, count)) == -signal.SIGKILL, said(run)
    assert train(run, data) == 0, said(run)
    assert "resumed" in said(run)
    assert_undisturbed(run, undisturbed)


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again(seed, tmp_path, data, undisturbed):
    """At random places by random signals, eight times a run."""
    run, rng = tmp_path / "run", random.Random(seed)
    for _ in range(8):
        blow = Blow(
            rng.choice(["step", "update", "half", "checksum", "renamed", "checkpoint"]),
            rng.randint(1, 2),
            rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1]),
        )
        code = train(run, data, *EVERY_STEP, blow=blow)
        assert code in (-signal.SIGKILL, STOPPED), said(run)
    assert train(run, data) == 0, said(run)
    assert_undisturbed(run, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_asked_to_stop_a_run_saves_where_it_is(number, tmp_path, data, undisturbed):
    run = tmp_path / "run"
    assert train(run, data, blow=Blow("step", 9, number)) == STOPPED, said(run)
    assert f"stopped by {number.name}" in said(run)
    names = [path.name for path in (run / "checkpoints").glob("checkpoint_epoch*.pyth")]
    assert sorted(names)[-1] == "checkpoint_epoch_00001_plus_000000006.pyth"  # 3 steps of 2 videos
    assert train(run, data) == 0, said(run)
    assert_undisturbed(run, undisturbed)


def test_asked_to_stop_at_the_end_of_the_last_epoch(tmp_path, data, undisturbed):
    """All is saved, and no test begins."""
    run = tmp_path / "run"
    assert train(run, data, blow=Blow("end", 3, signal.SIGTERM)) == STOPPED, said(run)
    assert "stopped by SIGTERM" in said(run)
    assert_undisturbed(run, undisturbed)
    assert train(run, data) == 0, said(run)
    assert_undisturbed(run, undisturbed)


@pytest.mark.parametrize("damage", ["torn", "changed", "foreign", "empty"])
def test_a_newest_checkpoint_that_is_no_good(damage, tmp_path, data, undisturbed):
    run = tmp_path / "run"
    assert train(run, data, *EVERY_STEP, blow=Blow("step", 9)) == -signal.SIGKILL, said(run)
    newest = sorted((run / "checkpoints").glob("checkpoint_epoch*.pyth"))[-1]
    content = newest.read_bytes()
    newest.write_bytes(
        {
            "torn": content[:-100],
            "changed": content[:5000] + b"?" + content[5001:],
            "foreign": b"not a checkpoint",
            "empty": b"",
        }[damage]
    )
    assert train(run, data) == 0, said(run)
    assert f"{newest}: cannot be resumed, its SHA-256 begins" in said(run)
    assert "the one before it is tried" in said(run)
    assert "resumed" in said(run)
    assert_undisturbed(run, undisturbed)


@pytest.mark.skipif(start_method() != "fork", reason="only forked ones are struck")
def test_a_killed_data_worker_is_named_with_its_file(tmp_path, data, undisturbed):
    run = tmp_path / "run"
    workers = ("DATA_LOADER.NUM_WORKERS", 2)
    code = train(run, data, *EVERY_STEP, *workers, blow=Blow("decoding", 5))
    assert code == 1, said(run)
    assert "error: loading stopped" in said(run)
    assert "died (exit code -9) at" in said(run) and ".mp4 (" in said(run)
    assert train(run, data, *workers) == 0, said(run)
    assert_undisturbed(run, undisturbed)


def test_videos_that_cannot_be_read_cost_nothing_that_is_done(tmp_path, data, undisturbed):
    """They end the run where they are asked for; mended, it goes on from there."""
    run, here = tmp_path / "run", copied(data, tmp_path / "data")
    video = nth_video(here, place=7)  # of the fourth step
    video.rename(video.with_suffix(".away"))
    assert train(run, here, "DATA.MAX_RESAMPLES", 0) == 1, said(run)
    assert f"{video}: expected a video file, found nothing there" in said(run)
    names = [path.name for path in (run / "checkpoints").glob("checkpoint_epoch*.pyth")]
    assert names == ["checkpoint_epoch_00000_plus_000000006.pyth"]
    video.with_suffix(".away").rename(video)
    assert train(run, here) == 0, said(run)
    assert_undisturbed(run, undisturbed)
