"""AVA from the command line: both strategies, stages, test, results files."""

import csv
import json

import numpy as np
import pytest
from ava_data import settings, write_ava
from test_run_net import ROOT, log_lines, run_net

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
    write_ava(folder, train=6, val=2, seconds=10)
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
    assert summary["metrics"]["keyframes"] == 20 and summary["metrics"]["boxes"] == 40
    assert "found at IoU 0.5, whatever the score: 40 of 40 (100.0 %)" in out
    with (tmp_path / "results/detections.csv").open() as file:
        rows = list(csv.reader(file))
    assert len(rows) == 40 * 3 and {len(row) for row in rows} == {8}
    with (tmp_path / "results/per_class.csv").open() as file:
        table = list(csv.DictReader(file))
    aps = [float(row["AP"]) for row in table if row["AP"] != "n/a"]
    assert np.mean(aps) == pytest.approx(summary["metrics"]["mAP"], abs=1e-3)
