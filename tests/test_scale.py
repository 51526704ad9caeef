"""Several processes: what is measured has all cells."""

from cmvl.benchmarks.scale import measured

CM = "configs/K400/SLOWFAST_8x8_CM.yaml"
TINY = "RESNET.WIDTH_PER_GROUP 8 RESNET.STAGE_BLOCKS [1,1,1,1] DATA.TRAIN_CROP_SIZE 32 NUM_GPUS 0"


def test_measured_cells():
    rates = measured(CM, [*TINY.split(), "VIDEO.NUM_CLIPS", "2"], [1], videos=2, steps=1)
    assert rates.keys() == {(1, False), (1, True)} and min(rates.values()) > 0
