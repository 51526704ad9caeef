"""What a run says."""

import json
import math

import pytest
import torch

from cmvl.utils.errors import TrainingError
from cmvl.utils.logging import RunLog, setup_logging


@pytest.fixture
def log(tmp_path):
    setup_logging(tmp_path)
    return RunLog(tmp_path, 2, torch.device("cpu"))


def lines(log):
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def run(log, losses, epochs=3):
    for i, loss in log.timed(losses):
        log.collect(loss=torch.tensor(loss))
        if log.due(i, len(losses)):
            log.step(0, i, len(losses), epochs, lr=0.1)


def test_a_line_holds_the_means_since_the_last(log):
    run(log, [1.0, 2.0, 3.0, 5.0, 7.0])
    assert [line["loss"] for line in lines(log)] == [1.5, 4.0, 7.0]
    assert [line["step"] for line in lines(log)] == [2, 4, 5]
    first, *_, last = lines(log)
    assert first["epoch"] == 1 and first["lr"] == 0.1
    assert all(first[k] >= 0 for k in ("data_s", "step_s", "eta_s", "memory_gb"))
    per_step = sum(line["step_s"] * n for line, n in zip(lines(log), (2, 2, 1), strict=True)) / 5
    assert last["eta_s"] == pytest.approx(10 * per_step)  # two epochs of five steps are left


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_training_stops_where_the_loss_is_no_number(log, loss):
    with pytest.raises(TrainingError, match="epoch 1, step 2, with learning rate 0.1"):
        run(log, [1.0, loss, 1.0])


def test_broken_videos_are_reported_once_an_epoch(log, tmp_path):
    log.broken(["train.csv:3: b.mp4: cut off"])
    log.broken(["train.csv:1: a.mp4: empty", "train.csv:3: b.mp4: cut off"])
    log.end_epoch(0)
    log.end_epoch(1)
    assert [(line["kind"], line["count"]) for line in lines(log)] == [("broken", 3)]
    assert (tmp_path / "stdout.log").read_text().count("b.mp4") == 1
