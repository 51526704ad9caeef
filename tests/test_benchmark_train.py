"""The benchmark of a training step on tiny nets; its peer is the same net, where it is there."""

import pytest
import torch

from cmvl.benchmarks import train
from cmvl.benchmarks.train import OURS, Work, as_text, our_step, step_table

TINY = (
    *("NUM_GPUS", "0", "RESNET.WIDTH_PER_GROUP", "8", "DATA.TRAIN_CROP_SIZE", "32"),
    *("RESNET.DEPTH", "18", "MODEL.NUM_CLASSES", "5"),
)
WORK = Work("configs/K400/SLOW_8x8_CM.yaml", TINY, 2, 2)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def test_table(monkeypatch):
    peaks = {"batch_reduction": 30.0, "multi_iteration": 10.0}
    monkeypatch.setattr(train, "find_spec", lambda name: None)
    monkeypatch.setattr(train, "fresh_peak", lambda file, opts, strategy, N, v: peaks[strategy])
    rows = step_table(WORK, repeats=1)
    assert [row["cell"] for row in rows] == list(OURS)
    assert [row["MiB"] for row in rows] == [30.0, 30.0, 10.0]
    assert rows[0]["ratio"] == 1 and all(row["ms"] > 0 for row in rows)
    assert as_text(rows).count("\n") == 4 and "| memory, multi-iteration |" in as_text(rows)


def test_cells_are_what_they_are_called():
    cfgs = {name: WORK.cfg(changes) for name, changes in OURS.items()}
    assert [cfg.MEMORY.INTERACTION for cfg in cfgs.values()] == [
        *("NoMemory", "AssociativeMemory", "AssociativeMemory")
    ]
    assert [cfg.VIDEO.STRATEGY for cfg in cfgs.values()] == [
        *("batch_reduction", "batch_reduction", "multi_iteration")
    ]


def test_a_step_makes_gradients(monkeypatch):
    made = []
    build = train.build_model
    monkeypatch.setattr(train, "build_model", lambda *a: made.append(build(*a)) or made[-1])
    our_step(WORK, ())()
    assert all(p.grad is not None for p in made[0].parameters())


@pytest.mark.parametrize("name", ["SLOW_8x8", "SLOWFAST_8x8"])
def test_the_peer_is_the_same_net(name):
    """As many parameters, and it takes our clips."""
    pytest.importorskip("pytorchvideo")
    opts = ("NUM_GPUS", "0", "DATA.TRAIN_CROP_SIZE", "32", "DATA.NUM_FRAMES", "8")
    work = Work(f"configs/K400/{name}.yaml", opts, 1, 2)
    ours = train.build_model(work.cfg(), train.find_task("classification").head)
    peers = train.peer(work)
    assert sum(map(torch.numel, ours.parameters())) == sum(map(torch.numel, peers.parameters()))
    train.peers_step(work)()
