"""What TensorBoard is given, as TensorBoard reads it."""

import errno
import io
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from cmvl.config import load_cfg
from cmvl.data.dataset import VideoDataset
from cmvl.engine import board as module
from cmvl.engine.board import Board, build_board, picture
from cmvl.engine.precision import Precision
from cmvl.engine.step import Stepper
from cmvl.losses import VideoLoss, top1_error
from cmvl.structures import VideoBatch
from cmvl.utils.logging import setup_logging
from cmvl.utils.runlog import RunLog

from toy import random_clips, toy_model


def read(folder):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulators.EventAccumulator(str(folder), {"images": 0, "scalars": 0, "histograms": 0})
    found.Reload()
    return found


def scalars(folder, tag):
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def pixels(folder, tag):
    (event,) = read(folder).Images(tag)
    return np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))


def log_with(board, tmp_path):
    return RunLog(tmp_path, 2, torch.device("cpu"), show=board.line)


def steps(log, numbers, epoch, loss):
    for number in numbers:
        log.collect(epoch, number, loss=torch.tensor(loss), lr=0.5)
        if log.due(number, 4):
            log.write(epoch, number, 4, 3)


def test_lines_of_the_log_become_scalars_on_one_axis(tmp_path):
    log = log_with(Board(tmp_path / "tb", steps=4), tmp_path)
    steps(log, [1, 2, 3, 4], 1, 3.0)
    log.metrics("val", 2, {"top1": 25.0})
    assert scalars(tmp_path / "tb", "train/loss") == [(6, 3.0), (8, 3.0)]
    assert scalars(tmp_path / "tb", "train/lr") == [(6, 0.5), (8, 0.5)]
    assert scalars(tmp_path / "tb", "val/top1") == [(8, 25.0)]
    tags = set(read(tmp_path / "tb").Tags()["scalars"])
    assert {"train/data_s", "train/step_s", "train/memory_gb"} < tags and "train/epoch" not in tags


def test_a_resumed_run_has_every_step_once(tmp_path):
    steps(log_with(Board(tmp_path / "tb", steps=4), tmp_path), [1, 2, 3, 4], 1, 3.0)
    steps(log_with(Board(tmp_path / "tb", steps=4), tmp_path), [3, 4], 1, 5.0)
    assert scalars(tmp_path / "tb", "train/loss") == [(6, 3.0), (8, 5.0)]


def test_histograms_of_memory_and_gates_come_every_period(tmp_path):
    model, board = toy_model(), Board(tmp_path, steps=4, period=2)
    model(random_clips(2, 3, 3, 4, 16, 16))
    for epoch in (1, 2, 3, 4):
        board.model(model, epoch)
    found = read(tmp_path)
    tags = set(found.Tags()["histograms"])
    assert {"memory/interactions.0.W_k.weight", "memory/infusions.1.W_O.bias"} < tags
    assert {"gate", "gate1"} < tags
    assert [event.step for event in found.Histograms("gate")] == [8, 16]
    gates = found.Histograms("gate1")[0].histogram_value
    assert gates.num == 2 * 3 * 4 and 0 < gates.min < gates.max < 1  # videos, clips, channels


def test_clips_stand_in_rows(tmp_path):
    clips = random_clips(2, 3, 20, 6, 5)
    shown = picture(clips)
    assert shown.shape == (3, 2 * 6, 8 * 5)
    torch.testing.assert_close(shown[:, 6:, -5:], clips[1, :, -1])
    torch.testing.assert_close(shown[:, :6, :5], clips[0, :, 0])
    assert picture(random_clips(1, 3, 4, 6, 5)).shape == (3, 6, 4 * 5)

    class Data(list):
        records = SimpleNamespace(path=lambda i: f"a b/{i}.mp4")
        spaced = VideoDataset.spaced

        def __getitem__(self, key):
            return SimpleNamespace(index=key[1], clips=clips)

    Board(tmp_path, steps=4, videos=2).clips(Data("abcdef"))
    assert read(tmp_path).Tags()["images"] == ["clips/0.mp4", "clips/5.mp4"]
    np.testing.assert_array_equal(pixels(tmp_path, "clips/5.mp4"), shown.permute(1, 2, 0))


def test_results_of_a_test_are_shown_with_their_pictures(tmp_path):
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[..., 0] = 200  # blue, the way OpenCV writes
    (tmp_path / "results").mkdir()
    cv2.imwrite(str(tmp_path / "results/confusion.png"), colours)
    Board(tmp_path / "tb").results(tmp_path / "results", {"top1": 75.0, "videos": 4})
    assert scalars(tmp_path / "tb", "test/top1") == [(0, 75.0)]
    np.testing.assert_array_equal(pixels(tmp_path / "tb", "test/confusion"), colours[..., ::-1])


def test_steps_between_two_lines_never_wait_for_the_device(tmp_path, monkeypatch):
    """Reading a tensor makes a GPU finish all it was given."""
    model = toy_model().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_fn = VideoLoss(torch.nn.CrossEntropyLoss(), 1.0, top1_error)
    step = Stepper(model, optimizer, loss_fn, Precision(None, torch.device("cpu")), max_norm=1.0)
    batch = VideoBatch(random_clips(2, 3, 3, 4, 16, 16), torch.arange(2), torch.arange(2))
    log = log_with(Board(tmp_path / "tb", steps=4, period=1, videos=2), tmp_path)

    def wait(self, *args, **kwargs):
        raise AssertionError("a tensor is read")

    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
            patch.setattr(torch.Tensor, name, wait)
        for number in (1, 2):
            log.collect(0, number, [0, 1], **step([batch], 0.1))
    log.write(0, 2, 4, 1)
    names = {"loss", "loss_clips", "loss_video", "error", "grad_norm", "gate_mean", "gate_mean1"}
    assert names <= {tag.removeprefix("train/") for tag in read(tmp_path / "tb").Tags()["scalars"]}


def test_nothing_is_written_unless_asked_or_by_others(tmp_path, monkeypatch):
    cfg = load_cfg(None, ["OUTPUT_DIR", str(tmp_path)])
    log = log_with(build_board(cfg, 4), tmp_path)
    steps(log, [1, 2], 0, 1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    cfg = load_cfg(None, ["OUTPUT_DIR", str(tmp_path), "TENSORBOARD.ENABLE", "True"])
    assert build_board(cfg).folder == tmp_path / "tensorboard"
    monkeypatch.setattr(module, "is_main", lambda: False)
    assert build_board(cfg).folder is None


def test_a_disk_that_takes_no_more_ends_the_board_and_not_the_run(tmp_path, monkeypatch, capsys):
    setup_logging(tmp_path)
    board = Board(tmp_path / "tb", steps=4)
    log = log_with(board, tmp_path)
    steps(log, [1, 2], 1, 3.0)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", full)
    steps(log, [3, 4], 1, 3.0)
    steps(log, [1, 2], 2, 3.0)
    board.model(toy_model(), 1)
    board.results(tmp_path, {"top1": 1.0})
    said = capsys.readouterr().out
    assert said.count("tb: cannot be written (No space left on device): the run goes on") == 1
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3
    assert scalars(tmp_path / "tb", "train/loss") == [(6, 3.0)]


def test_a_training_s_board_needs_a_place_from_the_start(tmp_path):
    (tmp_path / "file").write_text("no folder")
    place = str(tmp_path / "file" / "tb")
    cfg = load_cfg(None, ["TENSORBOARD.ENABLE", "True", "TENSORBOARD.LOG_DIR", place])
    with pytest.raises(OSError, match="Not a directory"):
        build_board(cfg, steps=4)
    build_board(cfg).results(tmp_path, {"top1": 1.0})  # of a test: said, and nothing is lost
