"""A run saved, resumed and started from other weights."""

import pytest
import torch
from torch.optim import SGD

from cmvl.checkpoint import Checkpointer, find_last, load_weights
from cmvl.losses import VideoLoss
from cmvl.utils.errors import CheckpointError

from toy import random_clips, toy_model

NO_MEMORY = "MEMORY.INTERACTION NoMemory"


def checkpointer(folder, model):
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return Checkpointer(folder, model, optimizer, scaler, "A: 1\n")


def train_steps(ckpt, steps):
    """Losses of a few steps with dropout, so that the random state matters."""
    loss_fn, losses = VideoLoss(torch.nn.CrossEntropyLoss(), 1.0), []
    ckpt.model.train()
    for i in steps:
        loss = loss_fn(ckpt.model(random_clips(2, 3, 3, 4, 16, 16, seed=i)), torch.tensor([0, 1]))
        ckpt.optimizer.zero_grad()
        loss.backward()
        ckpt.optimizer.step()
        losses.append(loss.item())
    return losses


def test_a_resumed_run_continues_to_the_last_bit(tmp_path):
    torch.manual_seed(0)
    whole = checkpointer(tmp_path / "whole", toy_model(dropout=0.5))
    expected = train_steps(whole, range(6))
    torch.manual_seed(0)
    first = checkpointer(tmp_path / "cut", toy_model(dropout=0.5))
    losses = train_steps(first, range(3))
    first.save(epoch=0)
    torch.manual_seed(99)
    second = checkpointer(tmp_path / "cut", toy_model(dropout=0.5))
    assert second.start(auto_resume=True, init_from="") == 1
    losses += train_steps(second, range(3, 6))
    assert losses == expected


def test_order_of_starting(tmp_path):
    stage_one = checkpointer(tmp_path / "one", toy_model(opts=NO_MEMORY)).save(epoch=4)
    two = checkpointer(tmp_path / "two", toy_model())
    assert two.start(auto_resume=True, init_from="") == 0
    assert two.start(auto_resume=True, init_from=str(stage_one)) == 0
    two.save(epoch=7)
    assert two.start(auto_resume=True, init_from=str(stage_one)) == 8
    assert two.start(auto_resume=False, init_from=str(stage_one)) == 0


def test_a_cut_write_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    ckpt = checkpointer(tmp_path, toy_model())
    good = ckpt.save(epoch=0)

    def torn(state, file):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="no space"):
        ckpt.save(epoch=1)
    assert find_last(tmp_path) == good


def test_a_run_folder_stands_for_its_last_checkpoint(tmp_path):
    ckpt = checkpointer(tmp_path, toy_model())
    ckpt.save(epoch=0)
    last = ckpt.save(epoch=1)
    assert str(last) in load_weights(toy_model(), tmp_path, may_miss=())


def test_resuming_with_another_model_says_what_to_do(tmp_path):
    checkpointer(tmp_path, toy_model(opts=NO_MEMORY)).save(epoch=0)
    other = checkpointer(tmp_path, toy_model())
    with pytest.raises(CheckpointError, match="choose another OUTPUT_DIR"):
        other.start(auto_resume=True, init_from="")


def test_no_checkpoint_yet(tmp_path):
    with pytest.raises(CheckpointError, match="train first"):
        find_last(tmp_path)


def test_a_checkpoint_without_its_parts_cannot_be_resumed(tmp_path):
    ckpt = checkpointer(tmp_path, toy_model())
    path = ckpt.save(epoch=0)
    state = torch.load(path)
    del state["optimizer_state"], state["rng_state"]
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="it lacks optimizer_state, rng_state; move it away"):
        ckpt.start(auto_resume=True, init_from="")
