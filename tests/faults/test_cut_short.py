"""A test that is cut short goes on after the videos that are done, and ends as if undisturbed."""

import filecmp
import re
import shutil
import signal
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fault_jobs import CONFIG, EVERY_STEP, OPTIONS, Blow, said, train

from cmvl import inference
from cmvl.config import load_cfg
from cmvl.engine import test as testing
from cmvl.engine import unfinished
from cmvl.engine.test import test as run_test
from cmvl.launch.signals import STOPPED
from cmvl.model import build_model
from cmvl.tasks import find_task
from cmvl.utils.errors import UserError, VideoError

KEPT = "unfinished_test"
NUMBERS = ("summary.json", "predictions.csv", "per_class.csv", "confusion.csv")


@pytest.fixture(scope="module")
def videos(tmp_path_factory, data):
    """7 videos to test, and weights."""
    folder = tmp_path_factory.mktemp("lists")
    lines = [line for name in ("val", "test") for line in (data / f"{name}.csv").open()]
    (folder / "test.csv").write_text("".join(lines[:7]))
    cfg = load_cfg(CONFIG, OPTIONS)
    torch.manual_seed(0)
    model = build_model(cfg, find_task(cfg.TASK).head)
    torch.save({"model_state": model.state_dict()}, folder / "net.pyth")
    return folder


@pytest.fixture
def test(videos, data):
    def run(folder, *options, blow=None):
        start = "TRAIN.ENABLE False TEST.ENABLE True TEST.NUM_ENSEMBLE_VIEWS 2".split()
        places = ["DATA.PATH_PREFIX", data, "TEST.CHECKPOINT_FILE_PATH", videos / "net.pyth"]
        return train(folder, videos, *start, *places, *options, blow=blow)

    return run


@pytest.fixture
def undisturbed(test, tmp_path):
    folder = tmp_path / "undisturbed"
    assert test(folder) == 0, said(folder)
    assert not (folder / KEPT).exists()
    return folder


def assert_same_results(folder, undisturbed):
    ours, theirs = folder / "results", undisturbed / "results"
    same, different, gone = filecmp.cmpfiles(ours, theirs, NUMBERS, shallow=False)
    assert set(same) == set(NUMBERS), (different, gone)
    scores = np.load(ours / "scores.npz")
    for name, expected in np.load(theirs / "scores.npz").items():
        assert np.array_equal(scores[name], expected), name
    assert not (folder / KEPT).exists()


def before(folder):
    """How many videos the last start found done."""
    return int(re.findall(r"the test goes on: (\d+) videos were tested", said(folder))[-1])


def test_killed(test, undisturbed, tmp_path):
    """At the fifth video, then at the second of what is left; the video before is done again."""
    run = tmp_path / "run"
    assert test(run, *EVERY_STEP, blow=Blow("scoring", 5)) == -signal.SIGKILL, said(run)
    assert test(run, *EVERY_STEP, blow=Blow("scoring", 3)) == -signal.SIGKILL, said(run)
    assert before(run) == 3
    assert test(run, "DIST.PROCESSES", 4) == 0, said(run)  # one of which has nothing left to do
    assert before(run) == 4
    assert_same_results(run, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(number, test, undisturbed, tmp_path):
    """The clock asks for nothing here."""
    run = tmp_path / "run"
    assert test(run, blow=Blow("scoring", 4, number)) == STOPPED, said(run)
    assert test(run) == 0, said(run)
    assert before(run) >= 3
    assert_same_results(run, undisturbed)


def test_several_processes_then_one(test, undisturbed, tmp_path):
    """What each had is taken, whoever tests the rest."""
    run, two = tmp_path / "run", ("DIST.PROCESSES", 2)
    assert test(run, *two, *EVERY_STEP, blow=Blow("scoring", 3, rank=1)) == 1, said(run)
    assert "rank 1 was killed by SIGKILL" in said(run)
    assert len([*(run / KEPT).glob("*.pt")]) >= 2
    assert test(run, *two, *EVERY_STEP, blow=Blow("scoring", 2, rank=1)) == 1, said(run)
    first = before(run)
    assert 2 <= first <= 5
    assert test(run) == 0, said(run)
    assert before(run) >= first
    assert_same_results(run, undisturbed)


@pytest.mark.parametrize(
    "changed, told",
    [
        (["TEST.NUM_ENSEMBLE_VIEWS", 3], True),
        (["DATA.TEST_CROP_SIZE", 20], True),
        (["TEST.CHUNK", 1, "DATA.ENSEMBLE_METHOD", "max", "SOLVER.BASE_LR", 1], False),
    ],
)
def test_another_test_begins_anew(changed, told, test, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    assert test(run, *EVERY_STEP, blow=Blow("scoring", 5)) == -signal.SIGKILL, said(run)
    assert test(run, *changed) == 0 and test(other, *changed) == 0, said(run)
    assert ("is of a test of other weights, data, settings or code" in said(run)) is told
    assert (f"settings or code ({changed[0]}): removed" in said(run)) is told
    assert ("the test goes on" in said(run)) is not told
    if told:
        assert_same_results(run, other)


def test_other_weights_begin_anew(test, videos, tmp_path):
    run, net = tmp_path / "run", tmp_path / "net.pyth"
    net.write_bytes((videos / "net.pyth").read_bytes())
    mine = "TEST.CHECKPOINT_FILE_PATH", net
    assert test(run, *mine, *EVERY_STEP, blow=Blow("scoring", 5)) == -signal.SIGKILL, said(run)
    state = torch.load(net)
    torch.save({"model_state": {k: v * 0.5 for k, v in state["model_state"].items()}}, net)
    assert test(run, *mine) == 0, said(run)
    assert "is of a test of other weights" in said(run) and "goes on" not in said(run)
    assert "settings or code (weights): removed" in said(run)


def test_changed_code_begins_anew(tmp_path):
    """Code that makes scores; what is wrong with an evaluation may be mended meanwhile."""
    found = []
    package = tmp_path / "cmvl"
    shutil.copytree(unfinished.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    assert unfinished._fingerprint(package) == unfinished._fingerprint(unfinished.PACKAGE)
    for name in ("evaluation/views.py", "memory/infusion.py", "model.py", "layers/new.py"):
        with (package / name).open("a") as file:
            file.write("# changed\n")
        found.append(unfinished._fingerprint(package))
    assert found[0] == unfinished._fingerprint(unfinished.PACKAGE) and len(set(found)) == 4


def small(videos, data, folder, *options):
    words = "TRAIN.ENABLE False TEST.ENABLE True TEST.NUM_ENSEMBLE_VIEWS 2".split()
    words += ["DATA.PATH_TO_DATA_DIR", videos, "DATA.PATH_PREFIX", data, "OUTPUT_DIR", folder]
    words += ["TEST.CHECKPOINT_FILE_PATH", videos / "net.pyth"]
    return load_cfg(CONFIG, [*OPTIONS, *map(str, [*words, *options])])


def test_a_broken_video_costs_no_more_than_itself(videos, data, tmp_path, capsys):
    """The fourth cannot be read: mended, or left out, the test goes on."""
    lists, run = tmp_path / "lists", tmp_path / "run"
    lists.mkdir()
    (lists / "net.pyth").symlink_to(videos / "net.pyth")
    lines = (videos / "test.csv").read_text().splitlines()
    lines[3] = f"{tmp_path / 'gone.mp4'} 0"
    (lists / "test.csv").write_text("\n".join(lines))
    with pytest.raises(VideoError, match="test.csv:4: .*gone.mp4"):
        run_test(small(lists, data, run))
    capsys.readouterr()
    result = run_test(small(lists, data, run, "TEST.SKIP_BROKEN", True))
    assert "the test goes on: 2 videos were tested before" in capsys.readouterr().out
    assert result.metrics["videos"] == 6
    assert [said.split(": ")[0] for said in result.skipped] == ["test.csv:4"]


def test_with_less_memory_at_a_time_it_goes_on(videos, data, tmp_path, capsys, monkeypatch):
    score, calls = inference.predict_video, []

    def short(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return score(*arguments)

    monkeypatch.setattr(inference, "predict_video", short)
    with pytest.raises(UserError, match="(?s)out of memory .* TEST.CHUNK below 10"):
        run_test(small(videos, data, tmp_path / "run"))
    result = run_test(small(videos, data, tmp_path / "run", "TEST.CHUNK", 1))
    assert "the test goes on: 3 videos were tested before" in capsys.readouterr().out
    assert len(calls) == 5 + 4 and result.metrics["videos"] == 7


def test_what_took_long_is_kept_until_results_are_written(
    videos, data, tmp_path, capsys, monkeypatch
):
    """Ten seconds a video here, of a period of a hundred."""
    run, seconds, write = tmp_path / "run", count(0, 10), testing._write_results
    monkeypatch.setattr(unfinished, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(testing, "_write_results", lambda *_: 1 / 0)
    for minutes in (100 / 60, 1000 / 60):
        with pytest.raises(ZeroDivisionError):
            run_test(small(videos, data, run, "TRAIN.CHECKPOINT_MINUTES", minutes))
    monkeypatch.setattr(testing, "_write_results", write)
    assert run_test(small(videos, data, run)).metrics["videos"] == 7
    assert capsys.readouterr().out.count("the test goes on: 6 videos were tested before") == 2


def test_a_full_disk_does_not_end_a_test(videos, data, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unfinished.torch, "save", full)
    result = run_test(small(videos, data, tmp_path / "run", *EVERY_STEP))
    assert result.metrics["videos"] == 7
    told = capsys.readouterr().out
    assert told.count("what is tested from here on would be lost") == 1
    assert "No space left on device" in told


def test_a_damaged_part_is_tested_again(test, undisturbed, tmp_path):
    run = tmp_path / "run"
    assert test(run, *EVERY_STEP, blow=Blow("scoring", 6)) == -signal.SIGKILL, said(run)
    parts = [*(run / KEPT).glob("*.pt")]
    parts[0].write_bytes(parts[0].read_bytes()[:100])
    parts[1].write_bytes(b"")
    assert test(run) == 0, said(run)
    assert said(run).count("cannot be read, its videos are tested again") == 2
    assert before(run) == 2
    assert_same_results(run, undisturbed)
