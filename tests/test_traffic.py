"""What is counted of a step against what its norms really say; its seconds by hand."""

import dataclasses

import pytest
import torch

from cmvl.config import batch_plan, get_cfg, load_cfg
from cmvl.engine.fast import build_fast
from cmvl.engine.freeze import build_frozen, train_mode
from cmvl.layers import batchnorm, grouped_norm
from cmvl.model import build_model
from cmvl.report.activations import activations, kept_bytes
from cmvl.report.machine import Machine
from cmvl.report.traffic import Net, Statistics, measure, passes_of_backbone, statistics, step
from cmvl.tasks import find_task
from cmvl.utils.errors import UserError

CM = "configs/K400/SLOWFAST_8x8_CM.yaml"
TINY = (
    "RESNET.DEPTH 18 RESNET.WIDTH_PER_GROUP 8 DATA.NUM_FRAMES 8 DATA.TRAIN_CROP_SIZE 32 "
    "VIDEO.NUM_CLIPS 3"
)
MULTI, AT_ONCE = "VIDEO.STRATEGY multi_iteration", "VIDEO.CLIPS_AT_ONCE"
# 100 TFLOP/s reached; 200 GB/s within, 20 GB/s between; 10 us within, 40 us between.
MACHINE = Machine(tflops=400, used=0.25, within=200, between=20, latency=1e-5, farther=4)


@pytest.fixture
def heard(monkeypatch):
    """[what, numbers of one process] of every collective, with a second process that agrees."""
    calls = []

    def gather(x):
        calls.append(["gather", x.numel()])
        return torch.stack([x, x])

    def reduce(x):
        calls.append(["reduce", x.numel()])
        return 2 * x

    monkeypatch.setattr(batchnorm, "world_size", lambda: 2)
    monkeypatch.setattr(grouped_norm, "all_gather", gather)
    monkeypatch.setattr(grouped_norm, "all_reduce", reduce)
    return calls


@pytest.mark.parametrize(
    "opts",
    ["", MULTI, "MEMORY.NORM batch_each", "MEMORY.NORM batch_all", "BN.CLIPWISE False"]
    + ["BN.FROZEN True", "MODEL.FREEZE_BACKBONE True"]
    + [f"{MULTI} MODEL.FREEZE_BACKBONE True", "BN.SYNC False"]
    + [f"{MULTI} {AT_ONCE} {k}" for k in (2, "3 BN.CLIPWISE False")],
)
def test_norms_say_what_is_counted(opts, heard):
    cfg = load_cfg(CM, [*TINY.split(), *opts.split()])
    model = build_model(cfg, find_task(cfg.TASK).head)
    build_frozen(cfg, model)
    build_fast(cfg, model)
    train_mode(model)
    clips = torch.randint(0, 256, (2, 3, 3, 8, 32, 32), dtype=torch.uint8)
    model(clips).square().sum().backward()
    gathers, reduces = ([n for what, n in heard if what == one] for one in ("gather", "reduce"))
    counted = statistics(cfg, model)
    assert counted == Statistics(len(gathers), sum(gathers), len(reduces), sum(reduces))
    assert (counted.collectives > 0) == cfg.BN.SYNC


def test_bytes_of_statistics_by_hand():
    """Of 8 processes, each passes 7 others' 100 numbers on; 40 numbers go 14/8 times round."""
    assert Statistics(1, 100, 1, 40).sent(8) == 4 * (7 * 100 + 70)


def net(opts="", **fields):
    """10 GFLOPs a clip, 5 million gradients, 3 gathers and 2 reduces."""
    cfg = load_cfg(CM, opts.split())
    said = Statistics(gathers=3, gathered=1000, reduces=2, reduced=800)
    usual = Net(cfg, 5, 10e9, 3e9, 6_000_000, 5_000_000, 0, said)
    return dataclasses.replace(usual, **fields)


def test_a_step_of_one_machine_by_hand():
    """64 clips are 13 videos of 5: 2 on each of 8 GPUs. 1.75 x 20 MB go at 200 GB/s."""
    one = step(net(), MACHINE, 1)
    assert (one.gpus, one.videos, one.collectives) == (8, 16, 5)
    assert one.compute == pytest.approx(1e-3)  # 10 clips of 10 GFLOPs at 100 TFLOP/s
    assert one.gradients == pytest.approx(175e-6)
    # 5 waits of 10 us; 7 x 4000 bytes and 1.75 x 3200.
    assert one.norms == pytest.approx(50e-6 + 33_600 / 200e9)
    assert one.lost == pytest.approx(225.168 / 1225.168)


def test_a_step_of_eight_machines_by_hand():
    """A budget of 512 is 102 videos, again 2 on each GPU; all 64 share a ring of 20 GB/s."""
    eight = step(net(), MACHINE, 8)
    assert (eight.gpus, eight.videos) == (64, 128)
    assert eight.compute == pytest.approx(1e-3)
    assert eight.gradients == pytest.approx(20e6 * 126 / 64 / 20e9)
    assert eight.norms == pytest.approx(200e-6 + (63 * 4000 + 3200 * 126 / 64) / 20e9)


def test_two_passes_say_statistics_twice_and_gradients_once():
    """Each pass has 64 / 5 / 8 / 2 videos, rounded to 1 on each GPU."""
    one, two = step(net(), MACHINE, 1), step(net("SOLVER.ACCUM_ITERS 2"), MACHINE, 1)
    assert two.videos == one.videos and two.compute == pytest.approx(one.compute)
    assert two.collectives == 10 and two.norms == pytest.approx(2 * one.norms)
    assert two.gradients == one.gradients


def test_multi_iteration_takes_as_many_videos_as_the_budget():
    many = step(net(MULTI), MACHINE, 1)
    assert many.videos == 64 and many.compute == pytest.approx(4e-3)


@pytest.mark.parametrize(("at_once", "passes"), [(1, 3.8), (2, 3.6), (3, 3.4), (5, 3), (9, 3)])
def test_passes_of_the_backbone(at_once, passes):
    """Of five clips the last iteration's are not run again: 1, 2 of 1 + 2 + 2, 3 of 2 + 3, all."""
    opts = [*MULTI.split(), AT_ONCE, str(at_once)]
    assert passes_of_backbone(load_cfg(CM, opts)) == pytest.approx(passes)
    assert passes_of_backbone(load_cfg(CM)) == 3


@pytest.mark.parametrize(("opts", "clips"), [("", 5), (MULTI, 1), (f"{MULTI} {AT_ONCE} 3", 3)])
def test_clips_that_are_held_together(opts, clips):
    assert batch_plan(load_cfg(CM, opts.split())).at_once == clips


def test_kept_bytes_by_hand():
    """A convolution keeps its input, a ReLU its output; weights are there anyway."""
    with torch.device("meta"):
        f = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 1, bias=False), torch.nn.ReLU())
        assert kept_bytes(f, torch.zeros(1, 3, 2, 4, 4)) == 4 * (3 + 4) * 2 * 4 * 4


@pytest.mark.parametrize("name", ["SlowFast", "I3D NONLOCAL.LOCATION [[],[0],[],[]]", "R2Plus1D"])
def test_kept_bytes_need_no_values(name):
    """Counted on shapes alone, but for small sums, as on a CPU."""
    opts = f"{TINY} RESNET.STAGE_BLOCKS [1,1,1,1] MODEL.BACKBONE {name}".split()
    cfg = load_cfg(None, [o for o in opts if o not in ("RESNET.DEPTH", "18")])
    backbone = build_model(cfg, find_task(cfg.TASK).head).backbone.train()
    clip = torch.zeros(1, 3, 8, 32, 32, dtype=torch.uint8)
    assert activations(cfg) == pytest.approx(kept_bytes(backbone, clip), rel=0.02)


def test_norms_of_slowfast_50():
    """53 in each pathway, 4 laterals, 2 of the memory; scan 2 gathers again for all clips but 1."""
    assert measure(load_cfg(CM)).statistics.collectives == 2 * (2 * 53 + 4 + 2)
    multi = measure(load_cfg(CM, MULTI.split())).statistics
    assert (multi.gathers, multi.reduces) == ((5 + 4) * 110 + 2, 5 * 110 + 2)


def test_a_frozen_backbone_goes_forward_only():
    usual, frozen = (
        measure(load_cfg(CM, ["MODEL.FREEZE_BACKBONE", str(on)])) for on in (False, True)
    )
    assert frozen.train == pytest.approx(usual.train / 3) and frozen.test == usual.test
    assert frozen.learning < 0.2 * usual.learning == 0.2 * usual.parameters


def test_loading_is_linear_in_clips():
    machine = Machine(single=0.02, video=0.06, raw_single=0.05, raw_video=0.13)
    assert machine.loading(1) == (0.02, 0.05) and machine.loading(5) == (0.06, 0.13)
    assert machine.loading(9) == pytest.approx((0.10, 0.21))


def test_an_assumption_of_nothing_is_told():
    with pytest.raises(UserError, match="--raw-video is 0, which is not above 0"):
        Machine(raw_video=0)


def test_the_config_is_left_alone():
    one = net()
    step(one, MACHINE, 8)
    assert one.cfg.TRAIN.BATCH_SIZE == get_cfg().TRAIN.BATCH_SIZE == 64
