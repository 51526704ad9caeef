"""What a test leaves in its folder: predictions, scores, classes, confusions."""

import csv
import json

import cv2
import numpy as np
import pytest
import torch

from cmvl.engine.test import _write_results
from cmvl.evaluation.classification import TopK
from cmvl.evaluation.confusion import confusion, draw_confusion, worst_pairs
from cmvl.evaluation.multilabel import MeanAP
from cmvl.evaluation.results import Listing, rank
from cmvl.utils.errors import DataError

NAMES = ["pour, water", "stir", "cut"]
PATHS = ["a b.mp4", "c,d.mp4", "caf\udce9.mp4"]


def table(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def saved(tmp_path):
    """Three videos that came in the order 2, 0, 1, in two clips each."""
    topk = TopK()
    scores = {0: [0.6, 0.3, 0.1], 1: [0.2, 0.7, 0.1], 2: [0.4, 0.2, 0.4]}
    for index, label in ((2, 2), (0, 0), (1, 2)):
        row = torch.tensor(scores[index])
        topk.update(
            torch.stack([row + 0.05, row - 0.05]).unsqueeze(1), torch.tensor([label]), index
        )
    topk.remark = topk.save(tmp_path, Listing(PATHS.__getitem__, NAMES))
    return topk, tmp_path


def test_predictions(saved):
    topk, folder = saved
    rows = table(folder / "predictions.csv")
    assert [row["path"] for row in rows] == PATHS
    assert [row["label"] for row in rows] == ["pour, water", "cut", "cut"]
    # The third is a tie: the label comes second, and it does not count, as in top-1.
    assert [row["prediction"] for row in rows] == ["pour, water", "stir", "pour, water"]
    assert [row["correct"] for row in rows] == ["1", "0", "0"]
    assert topk.compute()["top1"] == pytest.approx(100 / 3)
    assert list(rows[0])[5:] == ["top1", "score1", "top2", "score2", "top3", "score3"]
    best = [(rows[1][f"top{i}"], float(rows[1][f"score{i}"])) for i in (1, 2, 3)]
    assert best == [("stir", 0.7), ("pour, water", 0.2), ("cut", 0.1)]
    assert float(rows[1]["score"]) == 0.7


def test_scores(saved):
    with np.load(saved[1] / "scores.npz") as file:
        assert file["paths"].tolist() == PATHS and file["class_names"].tolist() == NAMES
        assert file["labels"].tolist() == [0, 2, 2]
        np.testing.assert_allclose(file["video_scores"][1], [0.2, 0.7, 0.1], atol=1e-6)
        assert file["clip_scores"].shape == (3, 2, 3)
        np.testing.assert_allclose(
            file["clip_scores"].mean(axis=1), file["video_scores"], atol=1e-6
        )


def test_classes_and_confusions(saved):
    topk, folder = saved
    rows = table(folder / "per_class.csv")
    assert [row["name"] for row in rows] == NAMES and [row["id"] for row in rows] == ["0", "1", "2"]
    assert [row["videos"] for row in rows] == ["1", "0", "2"]
    assert [row["top1"] for row in rows] == ["100.00", "n/a", "0.00"]
    assert [row["precision"] for row in rows] == ["50.00", "0.00", "n/a"]
    assert (rows[2]["mistaken_for"], rows[2]["times"]) == ("pour, water", "1")
    matrix = table(folder / "confusion.csv")
    assert [[row[name] for name in NAMES] for row in matrix] == [
        ["1", "0", "0"], ["0", "0", "0"], ["1", "1", "0"],
    ]  # fmt: skip
    assert "cut for stir (1)" in topk.remark
    picture = cv2.imread(str(folder / "confusion.png"))
    assert min(picture.shape[:2]) > 200 and picture.std() > 10


@pytest.mark.parametrize("K", [1, 2, 16, 36, 400])
def test_any_number_of_classes(K, tmp_path):
    topk = TopK()
    for i in range(K):
        scores = torch.zeros(1, 1, K)
        scores[..., max(0, i - 1)] = 1.0  # class i is taken for i - 1, class 0 for itself
        topk.update(scores, torch.tensor([i]), i)
    topk.save(tmp_path, Listing(str))  # no names: numbers
    rows = table(tmp_path / "predictions.csv")
    assert sum(row["correct"] == "1" for row in rows) == 1
    assert [row["label"] for row in rows] == [str(k) for k in range(K)]
    assert f"top{min(K, 5)}" in rows[0] and f"top{min(K, 5) + 1}" not in rows[0]
    classes = table(tmp_path / "per_class.csv")
    assert {row["top5"] for row in classes} == ({"100.00", "0.00"} if K > 5 else {"n/a"})
    assert max(cv2.imread(str(tmp_path / "confusion.png")).shape) < 3000


def test_top_five_by_class(tmp_path):
    """Of class 0 one video whose label comes fifth, of class 1 one whose label comes sixth."""
    topk = TopK()
    for label, place in ((0, 5), (1, 6)):
        others = [k for k in range(8) if k != label]
        best_first = [*others[: place - 1], label, *others[place - 1 :]]
        scores = torch.empty(8).scatter_(0, torch.tensor(best_first), torch.linspace(1, 0, 8))
        topk.update(scores.view(1, 1, 8), torch.tensor([label]), label)
    topk.save(tmp_path, Listing(str))
    rows = table(tmp_path / "per_class.csv")
    assert [row["top5"] for row in rows[:3]] == ["100.00", "0.00", "n/a"]


def test_names_and_worst_pairs_are_drawn():
    """Few classes: every name; many: the pairs that are confused most."""
    labels = np.repeat(np.arange(50), 4)
    taken = np.where(np.arange(200) % 4 == 0, (labels + 1) % 50, labels)
    taken[8:11] = 49
    matrix = confusion(labels, taken, 50)
    assert worst_pairs(matrix, 2) == [(2, 49, 3), (0, 1, 1)]
    figure = draw_confusion(matrix, [f"class {k}" for k in range(50)])
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts[:3] == ["3 of 4", "class 2", "class 49"]
    few = draw_confusion(confusion(np.array([0, 1]), np.array([0, 0]), 2), ["yes", "x" * 40]).axes[
        0
    ]
    assert [t.get_text() for t in few.get_yticklabels()] == ["yes", "x" * 23 + "…"]
    assert [t.get_text() for t in few.texts] == ["1", "1"]


def test_rank_puts_the_label_behind_its_equals():
    assert rank(np.array([0.2, 0.4, 0.4]), 1).tolist() == [2, 1, 0]
    assert rank(np.array([0.2, 0.4, 0.4])).tolist() == [1, 2, 0]


def test_several_labels(tmp_path):
    ap = MeanAP()
    for index, (scores, labels) in {
        1: ([0.9, 0.8, 0.1], [1, 1, 0]),
        0: ([0.2, 0.3, 0.6], [1, 0, 0]),
    }.items():
        ap.update(torch.tensor(scores).view(1, 1, 3), torch.tensor([labels]), index)
    remark = ap.save(tmp_path, Listing(PATHS.__getitem__, ["sit", "stand", ""]))
    rows = table(tmp_path / "predictions.csv")
    assert [row["path"] for row in rows] == PATHS[:2]
    assert [row["label"] for row in rows] == ["sit", "sit; stand"]
    assert [(row["prediction"], row["correct"]) for row in rows] == [("2", "0"), ("sit", "1")]
    classes = table(tmp_path / "per_class.csv")
    assert [row["videos"] for row in classes] == ["2", "1", "0"]
    assert [row["AP"] for row in classes] == ["100.0000", "100.0000", "n/a"]
    assert remark == "best classes: stand 100.0, sit 100.0; worst: sit 100.0, stand 100.0"
    assert not (tmp_path / "confusion.png").exists()
    with np.load(tmp_path / "scores.npz") as file:
        assert file["labels"].tolist() == [[1, 0, 0], [1, 1, 0]]


@pytest.mark.parametrize("evaluator", [TopK(), MeanAP()])
def test_no_video_could_be_read(evaluator):
    with pytest.raises(DataError, match="not one video could be read"):
        evaluator.compute()


def test_results_that_were_cut_short_have_no_summary(saved, tmp_path):
    """Nor that of a test before: what stands beside it would not be of this one."""
    topk, listing = saved[0], Listing(PATHS.__getitem__, NAMES)
    summary = {"metrics": {"top1": 1.0}, "by_position": []}
    _write_results(tmp_path / "new", summary, topk, listing)
    assert json.loads((tmp_path / "new/summary.json").read_text()) == summary
    assert not list((tmp_path / "new").glob("*.tmp"))
    topk.save = lambda folder, listing: 1 / 0
    with pytest.raises(ZeroDivisionError):
        _write_results(tmp_path / "new", summary, topk, listing)
    assert not (tmp_path / "new/summary.json").exists()
