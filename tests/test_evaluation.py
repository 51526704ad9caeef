"""Accuracy by hand, and against recorded values of many views."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cmvl.evaluation.classification import TopK
from cmvl.utils.errors import TrainingError

DATA = Path(__file__).parent / "data" / "metrics" / "multi_view"
SMALL = json.loads((DATA / "single_label_small.json").read_text())


def scores(*clips):
    """(V, 1, K) from one row per clip."""
    return torch.tensor(clips).unsqueeze(1)


def test_video_clip_and_position_accuracy():
    topk = TopK()
    topk.update(scores([0.9, 0.1], [0.3, 0.7]), torch.tensor([0]))  # video right: 0.6
    topk.update(scores([0.6, 0.4], [0.8, 0.2]), torch.tensor([1]))  # wrong
    two = {"f1": 0.0, "auc": 0.0}
    assert topk.compute() == {"top1": 50.0, **two, "clip_top1": 25.0, "videos": 2}
    assert topk.by_position() == [50.0, 0.0]


def test_crops_are_averaged_before_a_clip_is_judged():
    topk = TopK()
    topk.update(torch.tensor([[[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]]), torch.tensor([0]))
    assert topk.compute()["clip_top1"] == 100.0


@pytest.mark.parametrize("seed", range(3))
def test_two_classes(seed):
    """F1 and AUC of class 1 by their definitions, with equal scores among them."""
    rng, topk = np.random.default_rng(seed), TopK()
    labels = rng.integers(0, 2, 40)
    ones = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1), 1)
    for label, one in zip(labels, ones, strict=True):
        topk.update(scores([1 - one, one]), torch.tensor([label]))
    found = topk.compute()
    hits = ((ones > 0.5) & (labels == 1)).sum()
    taken = (ones > 0.5).sum() + ((ones == 0.5) & (labels == 0)).sum()  # a tie is no hit
    precision, recall = hits / taken, hits / (labels == 1).sum()
    assert found["f1"] == pytest.approx(200 * precision * recall / (precision + recall))
    pairs = [(a > b) + 0.5 * (a == b) for a in ones[labels == 1] for b in ones[labels == 0]]
    assert found["auc"] == pytest.approx(100 * np.mean(pairs)) and 60 < found["auc"] < 95
    assert list(found)[0] == "top1"  # the first chooses the best checkpoint


def test_two_classes_of_which_one_has_no_video():
    topk = TopK()
    topk.update(scores([0.9, 0.1]), torch.tensor([0]))
    assert topk.compute() == {"top1": 100.0, "f1": 0.0, "clip_top1": 100.0, "videos": 1}


def test_top5():
    topk = TopK()
    for label in (0, 4, 5):
        topk.update(torch.arange(7, 0, -1.0).reshape(1, 1, 7), torch.tensor([label]))
    metrics = topk.compute()
    assert metrics["top1"] == pytest.approx(100 / 3)
    assert metrics["top5"] == pytest.approx(200 / 3)


def test_a_tie_is_no_hit():
    topk = TopK()
    topk.update(scores([0.5, 0.5]), torch.tensor([0]))
    assert topk.compute()["top1"] == 0.0


def test_nan_raises():
    with pytest.raises(TrainingError, match="NaN"):
        TopK().update(scores([float("nan"), 0.5]), torch.tensor([0]))


def arrivals(case):
    """(views (V, K), label) of every video, in the order in which they came."""
    preds, ids = torch.tensor(case["preds"]), torch.tensor(case["clip_ids"])
    for video in range(case["num_videos"]):
        views = (ids // case["clips_per_video"] == video).nonzero().flatten()
        yield preds[views], torch.tensor([case["labels"][views[0]]])


def counted(evaluator, name):
    metrics = evaluator.compute()
    return metrics[name] * metrics["videos"] / 100


def assert_recorded(evaluator, expected):
    """Our ties never hit, the recorded ones may: any number of its range is right."""
    for k in ("top1", "top5"):
        low, high = expected[f"{k}_correct_range_over_tie_orders"]
        assert low - 1e-9 <= counted(evaluator, k) <= high + 1e-9
        if low == high:
            assert evaluator.compute()[k] == pytest.approx(expected[f"{k}_acc"], abs=1e-9)


@pytest.mark.parametrize("method", ["sum", "max"])
@pytest.mark.parametrize("name", SMALL)
def test_recorded_videos(name, method):
    if (name, method) == ("06_logits_not_probabilities", "max"):
        pytest.skip("PySlowFast's maximum starts at 0; ours takes logits as they are")
    evaluator = TopK(method)
    for views, label in arrivals(SMALL[name]):
        evaluator.update(views.unsqueeze(0), label)  # not all have as many
    assert_recorded(evaluator, SMALL[name]["expected"][method])


@pytest.mark.parametrize("name", SMALL)
def test_recorded_clips(name):
    """Every clip alone against its video's label."""
    evaluator = TopK()
    for views, label in arrivals(SMALL[name]):
        for view in views:
            evaluator.update(view.view(1, 1, -1), label)
    assert_recorded(evaluator, SMALL[name]["expected"]["clip_level"])


@pytest.mark.parametrize("method", ["sum", "max"])
def test_thirty_views(method):
    recorded = json.loads((DATA / "single_label_30views.json").read_text())
    case = {**recorded, **np.load(DATA / "single_label_30views.npz")}
    evaluator = TopK(method)
    for views, label in arrivals(case):
        evaluator.update(views.unflatten(0, (10, 3)), label)
    assert_recorded(evaluator, recorded["expected"][method])
