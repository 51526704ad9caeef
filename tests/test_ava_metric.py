"""Frame mAP against the published programs' numbers, all four of them."""

import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from cmvl.data.ava_files import (
    BoxRows,
    Frames,
    box_rows,
    read_boxes,
    read_excluded,
    read_label_map,
)
from cmvl.evaluation.ava import RULES, frame_ap
from cmvl.utils.errors import DataError

DATA = Path(__file__).parent / "data" / "metrics" / "ava"
IDS = json.loads((DATA / "labelmap/ids.json").read_text())["ids_60"]
CASES = sorted(p.name for p in DATA.iterdir() if (p / "detections.csv").exists())


def evaluate(folder, rules, truth="groundtruth.csv", detections="detections.csv"):
    frames, whole = Frames(), rules.whole_times
    truth, listed = read_boxes(str(folder / truth), frames, whole)
    found, _ = read_boxes(str(folder / detections), frames, whole)
    excluded = read_excluded(str(folder / "excluded_timestamps.csv"), frames, whole)
    return frame_ap(truth, found, IDS, rules, excluded, listed)


def assert_is(result, want, tolerance=1e-9):
    assert result.mean == pytest.approx(want["mAP"], abs=tolerance)
    got = {str(c): v for c, v in result.ap.items() if not np.isnan(v)}
    assert got == pytest.approx(want["ap"], abs=tolerance)
    for name in ("n_gt", "n_det", "n_tp"):
        if name in want:
            counts = {str(c): v for c, v in getattr(result, name).items()}
            assert {c: counts[c] for c in want[name]} == want[name], name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", RULES)
def test_published_programs(case, name):
    expected = json.loads((DATA / case / "expected.json").read_text())["evaluators"]
    result = evaluate(DATA / case, RULES[name])
    assert_is(result, expected[name])
    assert [c for c, v in result.ap.items() if np.isnan(v)] == expected[name]["nan_classes"]


def test_frames_listed_without_boxes_count_in_2020():
    folder = DATA / "04_excluded_frames"
    expected = json.loads((folder / "expected.json").read_text())["evaluators"]
    result = evaluate(folder, RULES["activitynet_2020"], "groundtruth_with_empty_rows.csv")
    assert_is(result, expected["activitynet_2020+empty_rows"])


METER = DATA / "09_meter_arrays"


def meter(mini_truth=False, mini_rows=False):
    """The route in memory: scores (N, 80) of N boxes."""
    arrays = np.load(METER / "meter_inputs.npz")
    names = json.loads((METER / "video_idx_to_name.json").read_text())
    frames = Frames()
    truth, _ = read_boxes(str(METER / "groundtruth.csv"), frames)
    excluded = read_excluded(str(METER / "excluded_timestamps.csv"), frames)
    rows = [
        (frames.number(names[video], second), box, c + 1, scores[c])
        for scores, (_, *box), (video, second) in zip(
            arrays["preds"],
            arrays["ori_boxes"],
            arrays["metadata"].astype(int).tolist(),
            strict=True,
        )
        if not (mini_rows and second % 4)
        for c in range(80)
    ]
    seconds = np.array([second for _, second in frames.keys()])
    if mini_truth:
        truth = truth.take(seconds[truth.frames] % 4 == 0)
    return frame_ap(truth, box_rows(rows), IDS, excluded=excluded)


def test_in_memory():
    expected = json.loads((METER / "expected.json").read_text())
    assert_is(meter(), expected["in_memory_full"])
    assert_is(meter(True, True), expected["mini_gt_and_mini_rows"])
    assert_is(meter(True, False), expected["mini_gt_all_rows"])
    dumped = evaluate(METER, RULES["pyslowfast"], detections="dumped_detections.csv")
    assert_is(dumped, expected["dumped_csv_full_stable_argsort"])


def plain(truth, detections, ids):
    """PySlowFast's rules as loops, one box at a time."""
    result = {}
    for c in ids:
        marks, taken = [], set()
        n_gt = int((truth.actions == c).sum())
        for frame in dict.fromkeys(detections.frames.tolist()):
            for d in range(len(detections)):
                if detections.frames[d] != frame or detections.actions[d] != c:
                    continue
                best, place = -1.0, None
                for g in range(len(truth)):
                    if truth.frames[g] != frame or truth.actions[g] != c:
                        continue
                    a, b = detections.boxes[d], truth.boxes[g]
                    w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
                    inter = max(w, 0) * max(h, 0)
                    areas = [(r[2] - r[0]) * (r[3] - r[1]) for r in (a, b)]
                    if inter / (sum(areas) - inter) > best:
                        best, place = inter / (sum(areas) - inter), g
                hit = best >= 0.5 and place not in taken
                taken |= {place} if hit else set()
                marks.append((detections.values[d], hit))
        hits = [hit for _, hit in sorted(marks, key=lambda m: m[0])[::-1]]
        precision = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
        terms = [max(precision[i:]) for i, hit in enumerate(hits) if hit]
        result[c] = sum(terms) / n_gt if n_gt else float("nan")
    return result


def made_rows(n, frames, classes, seed, near=None):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.5, (n, 2)).round(2)
    boxes = np.concatenate([low, low + rng.uniform(0.2, 0.4, (n, 2)).round(2)], axis=1)
    frame, action = rng.integers(0, frames, n), rng.integers(1, classes + 1, n)
    if near is not None:  # most detections lie on a box of the truth
        take = rng.integers(0, len(near), n)
        moved = near.boxes[take] + rng.normal(0, 0.02, (n, 4))
        boxes, frame, action = moved, near.frames[take], near.actions[take]
    return BoxRows(frame, boxes, action, rng.uniform(0, 1, n).round(4))


def test_against_a_plain_loop():
    truth = made_rows(60, 6, 3, 0)
    detections = made_rows(150, 6, 3, 1, near=truth)
    ids = [1, 2, 3, 4]
    want = plain(truth, detections, ids)
    assert 0.1 < want[1] < 0.999 and np.isnan(want[4])
    assert frame_ap(truth, detections, ids).ap == pytest.approx(want, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("form", ["item id", "label label_id"])
def test_label_map(form, tmp_path):
    block, key = form.split()
    extra = "  label_type: UNSPECIFIED\n" if block == "label" else ""
    text = "".join(f'{block} {{\n  name: "act {i} (x)"\n  {key}: {i}\n{extra}}}\n' for i in IDS)
    (tmp_path / "map.pbtxt").write_text(text)
    assert read_label_map(str(tmp_path / "map.pbtxt")) == {i: f"act {i} (x)" for i in IDS}


def test_label_map_mistakes(tmp_path):
    path = tmp_path / "map.pbtxt"
    path.write_text("1 stand\n")
    with pytest.raises(DataError, match="no class in this label map"):
        read_label_map(str(path))
    path.write_text('item {\n  name: "a"\n  id: 1\n}\nitem {\n  name: "b"\n  id: 1\n}\n')
    with pytest.raises(DataError, match=r"map.pbtxt:7: id 1 is already a"):
        read_label_map(str(path))


@pytest.mark.parametrize(
    "line,message",
    [
        ("a,902,0.1,0.1,0.2", r"boxes.csv:2: expected 7 or 8 columns .*found 5"),
        ("a,902.5,0.1,0.1,0.2,0.2,1,0.5", r"boxes.csv:2: expected a whole number of seconds"),
        (f"a,{10**6},0.1,0.1,0.2,0.2,1,0.5", r"whole number of seconds such as 0902 .*'1000000'"),
        ("a,-1,0.1,0.1,0.2,0.2,1,0.5", r"expected a whole number of seconds"),
        (f"a,902,0.1,0.1,0.2,0.2,{10**20},0.5", r"expected an action id in column 7, found '10+'"),
        ("a,902,0.1,x,0.2,0.2,1,0.5", r"boxes.csv:2: expected a number, found 'x'"),
        ("a,902,0.1,0.1,0.2,nan,1,0.5", r"expected a number, found 'nan'"),
        ("a,902,0.1,0.1,0.2,0.2,one,0.5", r"expected an action id in column 7, found 'one'"),
        ("a,902,0.1,0.1,0.2,0.2,81,0.5", r"action id 81, but ids are 1..80"),
    ],
)
def test_box_file_mistakes(line, message, tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(f"a,0902,0.1,0.1,0.2,0.2,1,0\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_boxes(str(path), Frames(), num_actions=80)
    with pytest.raises(DataError, match="nowhere.csv: cannot be read"):
        read_boxes(str(tmp_path / "nowhere.csv"), Frames())


def test_boxes_turned_round_are_refused():
    truth = box_rows([(0, (0.5, 0.1, 0.2, 0.3), 1, 0)])
    assert frame_ap(truth, box_rows([]), [1]).ap == {1: 0.0}
    with pytest.raises(DataError, match="x1 > x2"):
        frame_ap(truth, box_rows([(0, (0.1, 0.1, 0.2, 0.3), 1, 0.5)]), [1])


def test_detection_status_of_every_row():
    """Counts by row agree with the recorded marks: guards against mixing rows up."""
    assert len(CASES) == 8  # the ninth has arrays, see `meter`
    for case in CASES:
        with (DATA / case / "detection_status.csv").open() as file:
            rows = list(csv.DictReader(file))
        for name in RULES:
            status = defaultdict(int)
            for row in rows:
                status[row[name]] += 1
            result = evaluate(DATA / case, RULES[name])
            assert sum(result.n_tp.values()) == status["TP"]
            assert sum(result.n_det.values()) == status["TP"] + status["FP"]
