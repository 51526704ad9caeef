"""What a run says."""

import json
import math

import pytest
import torch

from cmvl.utils.errors import TrainingError
from cmvl.utils.logging import setup_logging
from cmvl.utils.runlog import RunLog


@pytest.fixture
def log(tmp_path):
    setup_logging(tmp_path)
    return RunLog(tmp_path, 2, torch.device("cpu"))


def lines(log):
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def run(log, losses, epochs=3):
    for i, loss in log.timed(losses):
        log.collect(0, i + 1, [2 * i, 2 * i + 1], loss=torch.tensor(loss), lr=0.5**i)
        if log.due(i + 1, len(losses)):
            log.write(0, i + 1, len(losses), epochs)


def test_a_line_holds_the_means_since_the_last(log):
    run(log, [1.0, 2.0, 3.0, 5.0, 7.0])
    assert [line["loss"] for line in lines(log)] == [1.5, 4.0, 7.0]
    assert [line["step"] for line in lines(log)] == [2, 4, 5]
    first, *_, last = lines(log)
    assert first["epoch"] == 1 and first["lr"] == 0.5  # as it is, not a mean
    assert all(first[k] >= 0 for k in ("data_s", "step_s", "eta_s", "memory_gb"))
    per_step = sum(line["step_s"] * n for line, n in zip(lines(log), (2, 2, 1), strict=True)) / 5
    assert last["eta_s"] == pytest.approx(10 * per_step)  # two epochs of five steps are left


def test_the_console_has_the_same_in_words(log, tmp_path):
    log.collect(1, 2, loss=0.5, loss_clips=0.25, loss_video=0.25, error=12.5)
    log.write(1, 2, 4, 2)
    (said,) = (tmp_path / "stdout.log").read_text().splitlines()
    assert "train  epoch 2  step 2/4  loss 0.5  error 12.5" in said and "eta 0:00:0" in said
    assert "loss_clips" not in said and lines(log)[0]["loss_clips"] == 0.25


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_training_stops_where_a_number_is_none_and_names_its_videos(tmp_path, loss, norm):
    log = RunLog(tmp_path, 3, torch.device("cpu"), name_video=lambda i: f"train.csv:{i}")
    log.collect(4, 1, [5, 6], loss=1.0, lr=0.1, grad_norm=2.0)
    log.collect(4, 2, [7, 8], loss=loss, lr=0.1, grad_norm=norm)
    log.collect(4, 3, [9], loss=1.0, lr=0.1, grad_norm=2.0)
    with pytest.raises(TrainingError, match="at epoch 5, step 2, with learning rate 0.1"):
        log.write(4, 3, 9, 9)
    (row,) = map(json.loads, (tmp_path / "nonfinite.jsonl").read_text().splitlines())
    assert row["videos"] == ["train.csv:7", "train.csv:8"] and (row["epoch"], row["step"]) == (5, 2)
    assert not log.path.exists()


def test_some_steps_without_a_number_are_let_pass_and_do_not_count(tmp_path):
    setup_logging(tmp_path)
    log = RunLog(tmp_path, 2, torch.device("cpu"), allowed=2)
    run(log, [1.0, math.nan, math.nan, 3.0])
    assert [line["loss"] for line in lines(log)] == [1.0, 3.0]
    log.collect(1, 1, loss=math.nan)
    with pytest.raises(TrainingError, match="SOLVER.NONFINITE, now 2"):
        log.check()
    assert len((tmp_path / "nonfinite.jsonl").read_text().splitlines()) == 3


def test_a_log_taken_up_goes_on_to_the_last_bit(tmp_path):
    setup_logging(tmp_path)
    losses = [1 / 3, 1 / 7, 1 / 11, 1 / 13, 1 / 17]
    whole = RunLog(tmp_path / "..", 3, torch.device("cpu"))
    whole.path = tmp_path / "whole.jsonl"
    run(whole, losses)
    first = RunLog(tmp_path, 3, torch.device("cpu"))
    for i, loss in enumerate(losses[:4]):
        first.collect(0, i + 1, [i], loss=torch.tensor(loss), lr=0.5**i)
        if first.due(i + 1, 5):
            first.write(0, i + 1, 5, 3)
    pending, size = first.pending(), first.size()
    first.collect(0, 5, [4], loss=99.0, lr=0.0)
    first.write(0, 5, 5, 3)  # steps that the checkpoint does not know
    second = RunLog(tmp_path, 3, torch.device("cpu"))
    second.cut(size)
    second.take_up([pending])
    second.collect(0, 5, [4], loss=torch.tensor(losses[4]), lr=0.0625)
    second.write(0, 5, 5, 3)
    assert [line["loss"] for line in lines(second)] == [line["loss"] for line in lines(whole)]
    assert "49.5" in (tmp_path / "log.cut.jsonl").read_text()


@pytest.mark.parametrize("first", [{"overflow": 0.0}, {}])
def test_a_log_taken_up_in_another_precision(first, tmp_path):
    """float16 counts overflows, bfloat16 has none."""
    setup_logging(tmp_path)
    then = {} if first else {"overflow": 0.0}
    log = RunLog(tmp_path, 2, torch.device("cpu"))
    log.collect(0, 1, loss=1.0, grad_norm=1.0, **first)
    other = RunLog(tmp_path, 2, torch.device("cpu"))
    other.take_up([log.pending()])
    other.collect(0, 2, loss=3.0, grad_norm=math.nan, **then)
    with pytest.raises(TrainingError):
        other.check()
    other.write(0, 2, 2, 3)
    (line,) = lines(other)
    assert line["loss"] == 1.0


def test_broken_videos_are_reported_once_an_epoch(log, tmp_path):
    log.broken(["train.csv:3: b.mp4: cut off"])
    log.broken(["train.csv:1: a.mp4: empty", "train.csv:3: b.mp4: cut off"])
    log.end_epoch(0)
    log.end_epoch(1)
    assert [(line["kind"], line["count"]) for line in lines(log)] == [("broken", 3)]
    assert (tmp_path / "stdout.log").read_text().count("b.mp4") == 1
