"""The evaluator of a run: counts, files, reports, and what it says about mAP 0."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cmvl.config import load_cfg
from cmvl.data.ava_files import Frames, read_boxes, read_excluded
from cmvl.evaluation.ava import RULES, frame_ap
from cmvl.evaluation.detection import FrameMeanAP
from cmvl.structures import KeyFrame
from cmvl.utils.errors import ConfigError, DataError, TrainingError

METER = Path(__file__).parent / "data" / "metrics" / "ava" / "09_meter_arrays"
IDS = json.loads((METER.parent / "labelmap/ids.json").read_text())["ids_60"]
NAMES = {c: f"class {c}" for c in IDS}


def meter(every=1, **options):
    evaluator = FrameMeanAP(
        str(METER / "groundtruth.csv"),
        NAMES,
        str(METER / "excluded_timestamps.csv"),
        every=every,
        **options,
    )
    arrays = np.load(METER / "meter_inputs.npz")
    videos = json.loads((METER / "video_idx_to_name.json").read_text())
    for scores, box, (video, second) in zip(
        arrays["preds"], arrays["ori_boxes"], arrays["metadata"].astype(int), strict=True
    ):
        if second % every == 0:
            boxes = torch.tensor(box[None, 1:], dtype=torch.float64)
            keyframe = KeyFrame(videos[video], int(second), boxes)
            evaluator.update(torch.from_numpy(scores[None]), keyframe)
    return evaluator


def test_reference():
    expected = json.loads((METER / "expected.json").read_text())
    got = meter().compute()
    assert got["mAP"] == pytest.approx(100 * expected["in_memory_full"]["mAP"], abs=1e-7)
    assert got["classes"] == 12
    mini = meter(every=4).compute()
    want = 100 * expected["mini_gt_and_mini_rows"]["mAP"]
    assert mini["mAP"] == pytest.approx(want, abs=1e-7)


@pytest.mark.parametrize("rules", RULES)
def test_the_official_file_says_the_same(rules, tmp_path):
    evaluator = meter(rules=rules)
    metrics = evaluator.compute()
    report = evaluator.save(tmp_path)
    frames, whole = Frames(), RULES[rules].whole_times
    truth, listed = read_boxes(str(METER / "groundtruth.csv"), frames, whole)
    excluded = read_excluded(str(METER / "excluded_timestamps.csv"), frames, whole)
    found, _ = read_boxes(str(tmp_path / "detections.csv"), frames, whole)
    again = frame_ap(truth, found, IDS, RULES[rules], excluded, listed)
    assert 100 * again.mean == pytest.approx(metrics["mAP"], abs=1e-7)
    with (tmp_path / "per_class.csv").open() as file:
        rows = {int(row["id"]): row for row in csv.DictReader(file)}
    assert rows[1]["AP"] == "n/a" and rows[1]["name"] == "class 1"
    assert float(rows[6]["AP"]) == pytest.approx(100 * again.ap[6], abs=1e-3)
    n_gt, n_tp = sum(again.n_gt.values()), sum(again.n_tp.values())
    assert f"ground truth: {n_gt} actions" in report
    assert f"whatever the score: {n_tp} of {n_gt}" in report
    without = [NAMES[c] for c in IDS if not again.n_gt[c]]
    assert f"n/a, without ground truth: {', '.join(without)}" in report and len(without) < len(IDS)
    ranked = sorted((again.ap[c], c) for c in IDS if again.n_gt[c])
    shown = [f"{NAMES[c]} {100 * ap:.1f}" for ap, c in (*ranked[:-4:-1], *ranked[:3])]
    told = f"best classes: {', '.join(shown[:3])}; worst: {', '.join(shown[3:])}"
    assert told in report


def one_box(tmp_path, video="a", second=902, box=(0.1, 0.1, 0.5, 0.5), scores=(0.9, 0.1)):
    (tmp_path / "truth.csv").write_text("a,0902,0.1,0.1,0.5,0.5,1,0\n")
    evaluator = FrameMeanAP(str(tmp_path / "truth.csv"), {1: "stand", 2: "sit"})
    if box:
        keyframe = KeyFrame(video, second, torch.tensor([box], dtype=torch.float64))
        evaluator.update(torch.tensor([scores]), keyframe)
    return evaluator


@pytest.mark.parametrize(
    "change,told",
    [
        ({"video": "a.mp4"}, r"none of the 2 detections .* e.g. \('a.mp4', 902\)"),
        ({"second": 2}, r"\('a', 2\), the ground truth \('a', 902\)"),
        ({"box": (10, 10, 50, 50)}, "in pixels"),
        ({"box": (0.6, 0.6, 0.9, 0.9)}, "0 of them overlap"),
        ({"box": None}, "not one detection"),
    ],
)
def test_why_map_is_zero(change, told, tmp_path, caplog):
    with caplog.at_level("WARNING", "cmvl"):
        assert one_box(tmp_path).compute()["mAP"] == 100 and not caplog.records
        assert one_box(tmp_path, **change).compute()["mAP"] == 0
    assert re.search(told, caplog.text.replace("\n", " "))


def test_nan_scores_and_missing_truth(tmp_path):
    with pytest.raises(TrainingError, match="NaN"):
        one_box(tmp_path, scores=(float("nan"), 0.1))
    (tmp_path / "none.csv").write_text("a,0902\n")
    with pytest.raises(DataError, match="none.csv: no box of an evaluated class"):
        FrameMeanAP(str(tmp_path / "none.csv"), {1: "stand"})


def test_label_map_must_fit_the_classes(tmp_path):
    (tmp_path / "map.pbtxt").write_text('item {\n  name: "a"\n  id: 9\n}\n')
    opts = ["AVA.ANNOTATION_DIR", str(tmp_path), "AVA.LABEL_MAP_FILE", "map.pbtxt"]
    with pytest.raises(ConfigError, match="MODEL.NUM_CLASSES is 3, but .* has id 9"):
        FrameMeanAP.from_cfg(load_cfg(None, [*opts, "MODEL.NUM_CLASSES", "3"]))
