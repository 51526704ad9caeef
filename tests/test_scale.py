"""Several processes: what is measured has all cells, what is calculated is the arithmetic said."""

import pytest

from cmvl.benchmarks.scale import Machine, measured, on_paper

CM = "configs/K400/SLOWFAST_8x8_CM.yaml"
TINY = "RESNET.WIDTH_PER_GROUP 8 RESNET.STAGE_BLOCKS [1,1,1,1] DATA.TRAIN_CROP_SIZE 32 NUM_GPUS 0"


def test_measured_cells():
    rates = measured(CM, [*TINY.split(), "VIDEO.NUM_CLIPS", "2"], [1], videos=2, steps=1)
    assert rates.keys() == {(1, False), (1, True)} and min(rates.values()) > 0


def test_one_machine_on_paper():
    """13 videos of 5 clips in the budget of 64 are 2 on each of 8 GPUs."""
    machine = Machine(tflops=100, within=200, between=25, latency=1e-5)
    share = on_paper(CM, [], parameters=10_000_000, multiply_adds=5e9, nodes=1, machine=machine)
    assert (share.gpus, share.videos) == (8, 16)
    assert share.compute == pytest.approx(1e3 * 6 * 5e9 * 10 / 100e12)
    assert share.gradient_mb == pytest.approx(1.75 * 40)
    assert share.gradients == pytest.approx(1.75 * 40e6 / 200e9 * 1e3)
    assert 0 < share.norms_mb < 0.1 * share.gradient_mb
    # SlowFast-50: 53 norms a pathway, 4 laterals, 2 of the memory.
    assert share.norms - 2 * (2 * 53 + 4 + 2) * 1e-5 * 1e3 == pytest.approx(
        1e3 * share.norms_mb / 200e3, abs=1e-9
    )


def test_more_machines_send_more_slowly():
    one, eight = (on_paper(CM, [], 10**7, 5e9, nodes, Machine()) for nodes in (1, 8))
    assert eight.videos == pytest.approx(8 * one.videos, rel=0.1)
    assert eight.compute == one.compute
    assert eight.gradients > one.gradients and eight.lost > one.lost
