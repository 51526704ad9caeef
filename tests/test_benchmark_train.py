"""The benchmark of a training step on tiny nets; its peer is the same net, where it is there."""

import math
import os
import signal
from ctypes.util import find_library
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from cmvl.benchmarks import step, train
from cmvl.benchmarks.apart import StepApart
from cmvl.benchmarks.memory import memory_table
from cmvl.benchmarks.step import Cost, StepHere, Work, cost_of, our_step, peer, peers_step
from cmvl.benchmarks.train import (
    OURS,
    USUAL,
    WAYS,
    as_text,
    refuse_impossible,
    step_of,
    step_table,
    where_time_goes,
)
from cmvl.utils.errors import ConfigError, LaunchError

TINY = (
    *("NUM_GPUS", "0", "RESNET.WIDTH_PER_GROUP", "8", "DATA.TRAIN_CROP_SIZE", "32"),
    *("RESNET.DEPTH", "18", "MODEL.NUM_CLASSES", "5"),
)
WORK = Work("configs/K400/SLOW_8x8_CM.yaml", TINY, 2, 2)
MIB = {"batch_reduction": 30.0, "multi_iteration": 10.0}
TOLD = [name for name in OURS if name in USUAL]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    monkeypatch.setattr(train, "find_spec", lambda name: None)


class Here:
    """As `StepApart`, without a process for each."""

    def __init__(self, make, work, changes, environment):
        self.step, self.mib = make(work, changes), MIB[work.cfg(changes).VIDEO.STRATEGY]

    def take(self):
        cost = cost_of(self.step, torch.device("cpu"))
        return Cost(cost.seconds, cost.seconds / 4)

    __enter__, __exit__ = lambda self: self, lambda self, *_: None


def test_table(monkeypatch):
    monkeypatch.setattr(train, "StepApart", Here)
    ways = ["float32", "bfloat16+channels_last"]
    rows = step_table(WORK, ways, repeats=1, flops=lambda cfg: 1e9)
    assert [(row["way"], row["cell"]) for row in rows] == [(w, c) for w in ways for c in TOLD]
    assert [row["MiB"] for row in rows] == [30.0, 30.0, 10.0] * 2
    assert rows[0]["ratio"] == rows[3]["ratio"] == 1
    for row in rows:
        assert math.isclose(row["ms"] * row["clips"], 1000) and row["system"] == 0.25
        assert math.isclose(row["tflops"], 3e9 * row["clips"] / 1e12) and row["share"] > 0
    text = as_text(rows)
    assert text.count("\n") == 7 and "| float32 | memory, multi-iteration |" in text


def test_the_least_repeat_counts_but_for_the_first(monkeypatch):
    """Which meets memory that nobody had touched, and on a GPU compiles."""
    costs = iter([1.0, 3.0, 2.0])
    monkeypatch.setattr(train, "StepApart", Here)
    monkeypatch.setattr(Here, "take", lambda self: Cost(next(costs), 0.5))
    [row] = step_table(WORK, ["bfloat16+compile"], 2, lambda cfg: 1e9, ["memory"])
    assert row["ms"] == 500 and row["system"] == 0.25  # 4 clips
    assert row["MiB"] is None  # a compiler's is among it
    assert as_text([row]).endswith("% |  |")


def test_a_step_in_a_process_of_its_own():
    with StepApart(our_step, WORK) as apart:
        first, second = apart.take(), apart.take()
        assert first.seconds > 0 and second.seconds > 0 and apart.mib > 0


def killed(work, changes):
    """A step that ends as one that asked for too much."""
    return partial(os.kill, os.getpid(), signal.SIGKILL)


def test_a_killed_step_says_what_to_do():
    with StepApart(killed, WORK) as step, pytest.raises(LaunchError, match="fewer --cells"):
        step.take()


def huge_pages(work, changes):
    """A "step" whose making fails, with the setting that its process has."""
    raise LookupError(os.environ["THP_MEM_ALLOC_ENABLE"])


def test_a_way_is_an_environment_too(monkeypatch):
    """Given to its process alone."""
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "1")
    monkeypatch.setattr(train, "our_step", huge_pages)
    for way, setting in {"configured": "1", "small pages": "0"}.items():
        with pytest.raises(LookupError, match=setting):
            step_of(WORK, way, "memory")
        assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"


def test_an_allocator_that_is_not_there_is_told(monkeypatch):
    """The loader only warns, and the row would be of the usual one."""
    monkeypatch.setattr(train, "find_library", {"tcmalloc_minimal": None}.get)
    with pytest.raises(ConfigError, match="libtcmalloc-minimal4"):
        refuse_impossible(WORK, ["configured", "tcmalloc"])


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_an_allocator_is_in_its_process(monkeypatch):
    if not find_library("tcmalloc_minimal"):
        pytest.skip("no libtcmalloc_minimal")
    monkeypatch.setattr(train, "our_step", libraries)
    with pytest.raises(LookupError, match="libtcmalloc_minimal"):
        step_of(WORK, "tcmalloc", "memory")


def libraries(work, changes):
    """A "step" whose making fails, with the files that its process has mapped."""
    raise LookupError(Path("/proc/self/maps").read_text())


def test_small_pages_need_a_process_apart(monkeypatch):
    ways = ["configured", "small pages"]
    refuse_impossible(WORK, ways)
    with pytest.raises(ConfigError, match="start the command with THP_MEM_ALLOC_ENABLE=0"):
        refuse_impossible(WORK, ways, profiled=True)
    monkeypatch.setattr(Work, "device", torch.device("cuda"))
    refuse_impossible(WORK, ways[:1], profiled=True)
    with pytest.raises(ConfigError, match="NUM_GPUS 0"):
        refuse_impossible(WORK, ways)


def test_one_video_is_too_few_for_the_norm_of_a_memory():
    one = replace(WORK, videos=1)
    with pytest.raises(ConfigError, match="--videos 1: MEMORY.NORM batch .* take 2 or more"):
        our_step(one)
    our_step(replace(one, opts=(*TINY, "MEMORY.NORM", "layer")))()
    our_step(replace(one, opts=(*TINY, "MEMORY.INTERACTION", "NoMemory")))()


def test_memory_of_a_step_in_this_process(monkeypatch):
    """The tensors' peak of the last step, above those that were there."""
    given = {"memory_allocated": lambda _: 2**30, "reset_peak_memory_stats": lambda _: None}
    for name, value in given.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(step, "peak_memory", lambda _: 3)
    with StepHere(our_step, WORK) as here:
        assert here.take().seconds > 0 and here.mib == 2048


def test_cells_are_what_they_are_called():
    cfgs = [WORK.cfg(changes) for changes in OURS.values()]
    assert [(c.MEMORY.INTERACTION, c.VIDEO.STRATEGY, c.VIDEO.CLIPS_AT_ONCE) for c in cfgs] == [
        ("NoMemory", "batch_reduction", 1),
        ("AssociativeMemory", "batch_reduction", 1),
        ("AssociativeMemory", "multi_iteration", 1),
        ("AssociativeMemory", "multi_iteration", 2),
    ]


def test_ways_are_what_they_are_called():
    for name, changes in WAYS.items():
        model = WORK.cfg(changes).MODEL
        assert model.COMPILE == ("compile" in name)
        assert name in ("configured", "small pages", "tcmalloc") or (
            (model.MEMORY_FORMAT == "channels_last") == ("channels_last" in name)
        )


@pytest.fixture
def made(monkeypatch):
    """The models that steps are made of."""
    models, build = [], step.build_model
    monkeypatch.setattr(step, "build_model", lambda *a: models.append(build(*a)) or models[-1])
    return models


def test_a_step_makes_gradients(made):
    our_step(WORK)()
    assert all(p.grad is not None for p in made[0].parameters())


def test_a_step_of_several_labels(made):
    our_step(Work("configs/CHARADES/SLOWFAST_16x8_CM.yaml", TINY[:6], 2, 2))()
    assert made[0].head.projection.weight.grad.abs().sum() > 0


def test_a_step_is_computed_as_the_way_says(made, monkeypatch):
    dtypes = []
    monkeypatch.setattr(torch.nn.Linear, "forward", spy(torch.nn.Linear.forward, dtypes))
    our_step(WORK, WAYS["bfloat16+channels_last"])()
    weight = next(m for m in made[0].modules() if isinstance(m, torch.nn.Conv3d)).weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.bfloat16 in dtypes
    dtypes.clear()
    our_step(WORK, WAYS["float32"])()
    assert set(dtypes) == {torch.float32}


def spy(forward, dtypes):
    def spying(self, x):
        y = forward(self, x)
        dtypes.append(y.dtype)
        return y

    return spying


def test_peak_of_a_process_of_its_own():
    """Two measurements do not see each other's peak."""
    work = Work(WORK.file, (*TINY, "DATA.TRAIN_CROP_SIZE", "64"), 2, 2)
    table = memory_table(work.file, work.opts, [8, 1], videos=2)
    assert list(table) == ["batch reduction", "multi-iteration", "2 clips at once"]
    assert table["batch reduction"][8] > table["batch reduction"][1] > 0


def test_where_time_goes():
    text = where_time_goes(WORK, "float32", rows=5)
    assert text.startswith("float32, with memory:\n") and text.count("\n") == 5
    assert "convolution" in text


@pytest.mark.parametrize("name", ["SLOW_8x8", "SLOWFAST_8x8"])
def test_the_peer_is_the_same_net(name):
    """As many parameters, and it takes our clips."""
    pytest.importorskip("pytorchvideo")
    opts = ("NUM_GPUS", "0", "DATA.TRAIN_CROP_SIZE", "32", "DATA.NUM_FRAMES", "8")
    work = Work(f"configs/K400/{name}.yaml", opts, 1, 2)
    ours = step.build_model(work.cfg(), step.find_task("classification").head)
    peers = peer(work.cfg())
    assert sum(map(torch.numel, ours.parameters())) == sum(map(torch.numel, peers.parameters()))
    peers_step(work)()
