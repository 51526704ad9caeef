"""A run saved, resumed and started from other weights."""

import os
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.optim import SGD, AdamW

from cmvl.checkpoint import Checkpointer, Position, find_last, folder, load_weights
from cmvl.checkpoint.folder import checkpoints, find_damage, write_whole
from cmvl.engine import keeper
from cmvl.launch.signals import STOPPED, StopRequest
from cmvl.losses import VideoLoss
from cmvl.utils.errors import CheckpointError, DataError
from cmvl.utils.runlog import RunLog

from toy import random_clips, toy_model

NO_MEMORY = "MEMORY.INTERACTION NoMemory"


def momentum(parameters):
    return SGD(parameters, lr=0.1, momentum=0.9)


def checkpointer(folder, model, keep=0, make_optimizer=momentum):
    optimizer = make_optimizer(model.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    folder.mkdir(exist_ok=True)
    log = RunLog(folder, 1, torch.device("cpu"))
    return Checkpointer(folder, model, optimizer, scaler, log, "A: 1\n", keep=keep)


def train_steps(ckpt, steps):
    """Losses of a few steps with dropout, so that the random state matters."""
    loss_fn, losses = VideoLoss(torch.nn.CrossEntropyLoss(), 1.0), []
    ckpt.model.train()
    for i in steps:
        logits = ckpt.model(random_clips(2, 3, 3, 4, 16, 16, seed=i))
        loss = loss_fn(logits, torch.tensor([0, 1]))["loss"]
        ckpt.optimizer.zero_grad()
        loss.backward()
        ckpt.optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("make_optimizer", [momentum, AdamW])
def test_a_resumed_run_continues_to_the_last_bit(make_optimizer, tmp_path):
    torch.manual_seed(0)
    whole = checkpointer(tmp_path / "whole", toy_model(dropout=0.5), 0, make_optimizer)
    expected = train_steps(whole, range(6))
    torch.manual_seed(0)
    first = checkpointer(tmp_path / "cut", toy_model(dropout=0.5), 0, make_optimizer)
    losses = train_steps(first, range(3))
    first.save(Position(0, 24))
    torch.manual_seed(99)
    second = checkpointer(tmp_path / "cut", toy_model(dropout=0.5), 0, make_optimizer)
    assert second.start(auto_resume=True, init_from="") == Position(0, 24)
    losses += train_steps(second, range(3, 6))
    assert losses == expected


def test_order_of_starting(tmp_path):
    stage_one = checkpointer(tmp_path / "one", toy_model(opts=NO_MEMORY)).save(Position(5))
    two = checkpointer(tmp_path / "two", toy_model())
    assert two.start(auto_resume=True, init_from="") == Position()
    assert two.start(auto_resume=True, init_from=str(stage_one)) == Position()
    two.save(Position(8))
    assert two.start(auto_resume=True, init_from=str(stage_one)) == Position(8)
    with pytest.raises(CheckpointError, match="AUTO_RESUME False wants a new OUTPUT_DIR"):
        two.start(auto_resume=False, init_from=str(stage_one))


def test_a_cut_write_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    ckpt = checkpointer(tmp_path, toy_model())
    good = ckpt.save(Position(1))

    def torn(state, file):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(CheckpointError, match="no space.*The checkpoints before it are whole"):
        ckpt.save(Position(2))
    assert not list((tmp_path / "checkpoints").glob("*.tmp"))
    assert find_last(tmp_path) == good


def test_a_run_folder_stands_for_its_last_checkpoint(tmp_path):
    ckpt = checkpointer(tmp_path, toy_model())
    ckpt.save(Position(1))
    last = ckpt.save(Position(1, 16))
    assert str(last) in load_weights(toy_model(), tmp_path, may_miss=())


def test_resuming_with_another_model_says_what_to_do(tmp_path):
    checkpointer(tmp_path, toy_model(opts=NO_MEMORY)).save(Position(1))
    other = checkpointer(tmp_path, toy_model())
    with pytest.raises(CheckpointError, match="choose another OUTPUT_DIR"):
        other.start(auto_resume=True, init_from="")


def test_no_checkpoint_yet(tmp_path):
    with pytest.raises(CheckpointError, match="train first"):
        find_last(tmp_path)


def test_torn_and_foreign_checkpoints_are_passed_over(tmp_path, caplog):
    ckpt = checkpointer(tmp_path, toy_model())
    first, second, third = (ckpt.save(Position(epoch)) for epoch in (1, 2, 3))
    third.write_bytes(third.read_bytes()[:-100])  # its checksum tells
    torch.save({"model_state": ckpt.model.state_dict()}, second)
    second.with_name(second.name + ".sha256").unlink()
    with caplog.at_level("WARNING", "cmvl"):
        assert ckpt.start(auto_resume=True, init_from="") == Position(1)
    assert "its SHA-256 begins" in caplog.text and "it lacks epoch, videos" in caplog.text
    assert find_last(tmp_path) == second  # whole, if not a run's
    first.write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="none of 3 checkpoints can be resumed"):
        ckpt.start(auto_resume=True, init_from="")


def test_a_changed_byte_is_noticed(tmp_path):
    ckpt = checkpointer(tmp_path, toy_model())
    path = ckpt.save(Position(1))
    assert find_damage(path) == ""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "its SHA-256 begins" in find_damage(path)


def test_the_newest_and_the_best_stay(tmp_path):
    ckpt = checkpointer(tmp_path, toy_model(), keep=2)
    for epoch, top1 in enumerate([50.0, 70.0, 60.0, 65.0], start=1):
        ckpt.end_epoch(epoch, saving=True, metrics={"top1": top1})
    folder = tmp_path / "checkpoints"
    names = sorted(path.name for path in folder.glob("*.pyth"))
    assert names == [
        "checkpoint_best.pyth", "checkpoint_epoch_00003.pyth", "checkpoint_epoch_00004.pyth"
    ]  # fmt: skip
    best = torch.load(folder / "checkpoint_best.pyth")
    assert best["epoch"] == 1 and best["best"] == {"metric": "top1", "value": 70.0, "epoch": 2}
    assert len(list(folder.iterdir())) == 6  # each with its checksum, nothing else
    assert all(find_damage(path) == "" for path in folder.glob("*.pyth"))
    again = checkpointer(tmp_path, toy_model(), keep=2)
    again.start(auto_resume=True, init_from="")
    for epoch, top1 in ((5, 69.0), (6, 70.0)):  # of equals the first is the best
        again.end_epoch(epoch, saving=False, metrics={"top1": top1})
        assert torch.load(folder / "checkpoint_best.pyth")["epoch"] == 1
    again.end_epoch(7, saving=False, metrics={"top1": 70.5})  # the best, and none of the newest
    assert torch.load(folder / "checkpoint_best.pyth")["epoch"] == 6
    assert [path.name for path in checkpoints(tmp_path)] == names[1:]
    again.save(Position(7, 8))  # within an epoch, too, the oldest goes
    assert [path.name for path in checkpoints(tmp_path)] == [
        "checkpoint_epoch_00004.pyth", "checkpoint_epoch_00007_plus_000000008.pyth"
    ]  # fmt: skip


def test_nobody_leaves_before_the_checkpoint_is_written(monkeypatch):
    """All agree to stop, the main process writes, all meet again: then they end."""
    events = []
    monkeypatch.setattr(keeper, "highest", lambda wish: events.append("meet") or wish)
    ckpt = SimpleNamespace(save=lambda position: events.append(position))
    log = SimpleNamespace(check=lambda: events.append("check"))
    asked = keeper.Keeper(ckpt, log, StopRequest("SIGTERM"), minutes=0)
    data = asked.between(iter("ab"), lambda i: Position(1, 8 * i))
    assert next(data) == "a" and events == []  # nothing is done yet
    with pytest.raises(SystemExit) as ended:
        next(data)
    assert ended.value.code == STOPPED
    assert events == ["meet", "check", Position(1, 8), "meet"]  # no diverged run's is the newest


@pytest.mark.parametrize("signal", ["", "SIGTERM"])
def test_data_that_cannot_be_had_end_a_run_that_has_saved(signal, monkeypatch):
    """The failure is told, also where the run was to stop at that step."""
    events = []
    monkeypatch.setattr(keeper, "highest", lambda wish: events.append("meet") or wish)
    ckpt = SimpleNamespace(save=lambda position: events.append(position))
    log = SimpleNamespace(check=lambda: None)
    stop = StopRequest()

    def broken():
        yield from "ab"
        stop.name = signal
        raise DataError("no disk")

    asked = keeper.Keeper(ckpt, log, stop, minutes=0)
    data = asked.between(broken(), lambda i: Position(0, 8 * i))
    assert next(data) + next(data) == "ab" and events == ["meet"]
    with pytest.raises(DataError, match="no disk"):
        next(data)
    assert events == ["meet", "meet", Position(0, 16), "meet"]


def test_data_that_cannot_be_had_from_the_start_leave_nothing():
    def broken():
        raise DataError("no disk")
        yield

    asked = keeper.Keeper(None, None, StopRequest(), minutes=0)
    with pytest.raises(DataError, match="no disk"):
        next(asked.between(broken(), lambda i: Position(0, i)))


@pytest.mark.parametrize(("signal", "saving"), [("SIGTERM", True), ("SIGTERM", False), ("", True)])
def test_a_signal_between_epochs_is_heard_once_all_is_saved(signal, saving):
    """Also after the last one: the test that comes next is another start's."""
    saved = []
    ckpt = SimpleNamespace(end_epoch=lambda *epoch: saved.append(epoch))
    asked = keeper.Keeper(ckpt, SimpleNamespace(), StopRequest(signal), minutes=0)
    with pytest.raises(SystemExit) if signal and saving else nullcontext():
        asked.end_epoch(3, saving, {"top1": 1.0})
    assert saved == [(3, saving, {"top1": 1.0})]


def test_files_reach_the_disk_before_they_have_their_names(tmp_path, monkeypatch):
    synced, named = set(), []
    monkeypatch.setattr(folder.os, "fsync", lambda file: synced.add(os.fstat(file).st_ino))
    replace = folder.Path.replace

    def renamed(path, target):
        named.append((target.name, path.stat().st_ino in synced))
        return replace(path, target)

    monkeypatch.setattr(folder.Path, "replace", renamed)
    write_whole({"a": 1}, tmp_path / "a.pyth")
    assert named == [("a.pyth.sha256", True), ("a.pyth", True)]


def test_a_checksum_that_the_power_cut_took_is_none(tmp_path):
    write_whole({"a": 1}, tmp_path / "a.pyth")
    (tmp_path / "a.pyth.sha256").write_text("")
    assert find_damage(tmp_path / "a.pyth") == ""


def test_optimizer_settings_are_the_configs(tmp_path):
    """A resumed one has the momenta of its checkpoint, and what the config says now."""
    first = checkpointer(tmp_path, toy_model())
    train_steps(first, range(1))
    first.save(Position(1))
    second = checkpointer(tmp_path, toy_model())
    (group,) = second.optimizer.param_groups
    group.update(momentum=0.5, weight_decay=0.05)
    second.start(auto_resume=True, init_from="")
    (group,) = second.optimizer.param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.5, 0.05)
    old, new = (list(c.optimizer.state_dict()["state"].values()) for c in (first, second))
    for before, now in zip(old, new, strict=True):
        assert torch.equal(before["momentum_buffer"], now["momentum_buffer"])
