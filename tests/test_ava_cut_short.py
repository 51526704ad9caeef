"""A test of boxes that is cut short: a window that breaks off is not kept, whole videos are."""

import csv
import signal

import pytest
import torch
from ava_data import settings, write_ava
from test_ava_run import CONFIG, SMALL

from cmvl import inference
from cmvl.config import load_cfg
from cmvl.data.ava import Ava
from cmvl.engine import unfinished
from cmvl.engine.test import test as run_test
from cmvl.model import build_model
from cmvl.tasks import find_task
from cmvl.utils.errors import TrainingError, VideoError

ALONE = "TRAIN.ENABLE False TRAIN.INIT_FROM  TRAIN.CHECKPOINT_MINUTES 0 TEST.CHUNK 1".split(" ")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """3 films of 6 key frames to test, and weights."""
    folder = tmp_path_factory.mktemp("films")
    write_ava(folder, train=1, val=3, seconds=6)
    cfg = build_cfg(folder, folder)
    torch.manual_seed(0)
    model = build_model(cfg, find_task(cfg.TASK).head)
    torch.save({"model_state": model.state_dict()}, folder / "net.pyth")
    return folder


def build_cfg(films, out, *options):
    words = [*settings(films), *SMALL, *ALONE, "OUTPUT_DIR", out]
    words += ["TEST.CHECKPOINT_FILE_PATH", films / "net.pyth"]
    return load_cfg(str(CONFIG), [*map(str, [*words, *options])])


def detections(out):
    return list(csv.reader((out / "results/detections.csv").open()))


def strike(monkeypatch, ends):
    """At the ninth key frame, which is of the second film, by a signal or a failure; the calls."""
    encode, calls = inference._encoded, []

    def struck(*arguments):
        for pair in encode(*arguments):
            calls.append(1)
            if len(calls) == 9:
                if ends is None:
                    raise TrainingError("struck")
                signal.raise_signal(ends)
            yield pair

    monkeypatch.setattr(inference, "_encoded", struck)
    return calls


@pytest.mark.parametrize("ends", [signal.SIGTERM, None])
def test_goes_on(ends, films, tmp_path, monkeypatch, capsys):
    whole, run = tmp_path / "whole", tmp_path / "run"
    run_test(build_cfg(films, whole))
    calls = strike(monkeypatch, ends)
    with pytest.raises(SystemExit if ends else TrainingError):
        run_test(build_cfg(films, run))
    first = len(calls)
    assert first < 9 + 2
    result = run_test(build_cfg(films, run))
    assert len(calls) == first + 2 * 6  # not the first film's
    assert "the test goes on: 1 videos were tested before" in capsys.readouterr().out
    assert detections(run) == detections(whole) and result.metrics["keyframes"] == 18


def test_what_was_left_out_is_still_told(films, tmp_path, monkeypatch):
    """A key frame of the first film, which is not read again, and one of the last."""
    load = Ava._load

    def broken(self, index, *arguments):
        if index in (2, 15):
            raise VideoError("broken")
        return load(self, index, *arguments)

    monkeypatch.setattr(Ava, "_load", broken)
    strike(monkeypatch, None)
    cfg = build_cfg(films, tmp_path, "TEST.SKIP_BROKEN", "True")
    with pytest.raises(TrainingError):
        run_test(cfg)
    result = run_test(cfg)
    assert len(result.skipped) == 2 and result.metrics["keyframes"] == 16


def test_other_boxes_begin_anew(films, tmp_path, monkeypatch, capsys):
    """Of the same key frames."""
    run = tmp_path / "run"
    monkeypatch.setattr(unfinished.Unfinished, "remove", lambda self: None)
    run_test(build_cfg(films, run, "TRAIN.CHECKPOINT_MINUTES", "1e-6"))
    run_test(build_cfg(films, run))
    assert "the test goes on: 2 videos were tested before" in capsys.readouterr().out
    persons = films / "annotations" / "persons.csv"
    rows = [line.split(",") for line in persons.read_text().splitlines()]
    rows[0][2] = f"{float(rows[0][2]) + 0.001:.3f}"
    persons.write_text("".join(",".join(row) + "\n" for row in rows))
    run_test(build_cfg(films, run))
    assert "of other weights, data, settings or code" in capsys.readouterr().out
