"""AVA from the command line: both strategies, stages, test, results files."""

import csv
import json

import numpy as np
import pytest
from ava_data import settings, write_ava
from test_run_net import ROOT, log_lines, run_net

from cmvl.config import load_cfg
from cmvl.engine import train as training
from cmvl.utils.errors import DataError

CONFIG = ROOT / "configs/AVA/SLOWFAST_4x16_V22_CM.yaml"
SMALL = (
    "DATA.NUM_FRAMES 4 DATA.SAMPLING_RATE 1 DATA.TRAIN_CROP_SIZE 48 DATA.TEST_CROP_SIZE 48 "
    "DATA.TRAIN_JITTER_SCALES [48,56] RESNET.WIDTH_PER_GROUP 8 RESNET.STAGE_BLOCKS [1,1,1,1] "
    "SLOWFAST.ALPHA 2 SLOWFAST.BETA_INV 2 VIDEO.NUM_CLIPS 3 BN.FROZEN False "
    "SOLVER.LR_POLICY cosine SOLVER.WARMUP_EPOCHS 0 SOLVER.BASE_LR 0.1 SOLVER.MAX_EPOCH 4 "
    "DATA_LOADER.NUM_WORKERS 0 NUM_GPUS 0 LOG_PERIOD 1 TRAIN.EVAL_PERIOD 4 MODEL.DROPOUT_RATE 0.0 "
    "MODEL.FC_INIT_STD 0.1"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ava_run")
    write_ava(folder, train=6, val=3, seconds=10)
    return folder


def train(folder, out, *opts):
    result = run_net(
        "--cfg", CONFIG, *settings(folder), *SMALL, "OUTPUT_DIR", out, "TRAIN.INIT_FROM", "", *opts
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    return result


@pytest.mark.parametrize("strategy,batch", [("batch_reduction", 18), ("multi_iteration", 6)])
def test_trains_and_tests(strategy, batch, folder, tmp_path):
    out = train(folder, tmp_path, "VIDEO.STRATEGY", strategy, "TRAIN.BATCH_SIZE", batch).stdout
    losses = [line["loss"] for line in log_lines(tmp_path, "train")]
    assert losses[-1] < 0.5 * losses[0]
    assert [line["epoch"] for line in log_lines(tmp_path, "val")] == [4]
    summary = json.loads((tmp_path / "results/summary.json").read_text())
    assert summary["metrics"]["mAP"] > 60  # chance is about a third
    assert summary["metrics"]["classes"] == 3
    assert summary["metrics"]["keyframes"] == 30 and summary["metrics"]["boxes"] == 60
    assert "found at IoU 0.5, whatever the score: 60 of 60 (100.0 %)" in out
    with (tmp_path / "results/detections.csv").open() as file:
        rows = list(csv.reader(file))
    assert len(rows) == 60 * 3 and {len(row) for row in rows} == {8}
    with (tmp_path / "results/per_class.csv").open() as file:
        table = list(csv.DictReader(file))
    aps = [float(row["AP"]) for row in table if row["AP"] != "n/a"]
    assert np.mean(aps) == pytest.approx(summary["metrics"]["mAP"], abs=1e-3)


@pytest.mark.parametrize("period", [0, 4])
def test_a_missing_ground_truth_is_told_before_training(period, folder, tmp_path):
    opts = [*settings(folder), *SMALL, "AVA.GROUNDTRUTH_FILE", "gone.csv"]
    opts += ["OUTPUT_DIR", str(tmp_path / "out"), "TRAIN.EVAL_PERIOD", str(period)]
    with pytest.raises(DataError, match="gone.csv: cannot be read"):
        training.train(load_cfg(str(CONFIG), opts))
    assert not (tmp_path / "out").exists()


def results(out):
    """Numbers of a test, and its detections word for word."""
    summary = json.loads((out / "results/summary.json").read_text())
    return summary["metrics"], (out / "results/detections.csv").read_text()


def test_two_processes_do_what_one_does(folder, tmp_path):
    one, two, tested = (tmp_path / name for name in ("one", "two", "tested"))
    short = ["TRAIN.BATCH_SIZE", 36, "VIDEO.STRATEGY", "batch_reduction", "SOLVER.MAX_EPOCH", 1]
    # A batch norm over 4 gates that are nearly alike would magnify the roundings of float32.
    short += ["TRAIN.EVAL_PERIOD", 0, "BN.SYNC", True, "MEMORY.NORM", "layer"]
    train(folder, one, *short)
    train(folder, two, *short, "DIST.PROCESSES", 2)
    last = one / "checkpoints/checkpoint_epoch_00001.pyth"
    only = ["TRAIN.ENABLE", False, "MEMORY.NORM", "layer", "TEST.CHECKPOINT_FILE_PATH", last]
    train(folder, tested, *only, "DIST.PROCESSES", 2)
    # 3 videos, so one process has two of them; scores, boxes and their order are the same.
    assert results(tested) == results(one)
    first, second = ([x["loss"] for x in log_lines(out, "train")] for out in (one, two))
    assert len(first) == 5 and first[-1] < 0.9 * first[0]
    assert second == pytest.approx(first, abs=1e-4)
    rows = [np.genfromtxt(out / "results/detections.csv", delimiter=",") for out in (one, two)]
    assert np.ptp(rows[0][:, 7]) > 0.1
    np.testing.assert_allclose(rows[0][:, 2:], rows[1][:, 2:], rtol=0, atol=1e-3)
    assert results(two)[0]["mAP"] == pytest.approx(results(one)[0]["mAP"], abs=0.1)
