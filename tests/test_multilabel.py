"""mAP of several labels against recorded values: PySlowFast's and the official one."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cmvl.config import load_cfg
from cmvl.evaluation.multilabel import (
    MeanAP,
    average_precisions,
    average_precisions_official,
    mean_ap,
    mean_ap_official,
)
from cmvl.inference import score_views
from cmvl.losses import build_multi_label_loss
from cmvl.structures import VideoBatch
from cmvl.tasks import find_task
from cmvl.utils.errors import DataError, TrainingError

from toy import random_clips, toy_model

DATA = Path(__file__).parent / "data" / "metrics"
CHARADES = sorted(p.name for p in (DATA / "charades").iterdir() if p.is_dir())
DEGENERATE = json.loads((DATA / "charades" / "08_degenerate.json").read_text())
MULTI_VIEW = json.loads((DATA / "multi_view" / "multi_label_small.json").read_text())


def recorded(values):
    """null stands for NaN."""
    return torch.tensor([math.nan if v is None else v for v in values], dtype=torch.float64)


def assert_close(got, want):
    torch.testing.assert_close(got, recorded(want), rtol=0, atol=1e-9, equal_nan=True)


def charades_case(name):
    arrays = np.load(DATA / "charades" / name / "arrays.npz")
    scores, labels = (torch.from_numpy(arrays[k]) for k in ("scores", "labels"))
    expected = json.loads((DATA / "charades" / name / "expected.json").read_text())
    return scores, labels, torch.from_numpy(arrays["present"]), expected


def filled(scores, present, value):
    return scores.masked_fill(~present[:, None], value)


def test_a_case_by_hand():
    case = json.loads((DATA / "charades" / "01_tiny.json").read_text())
    scores, labels = torch.tensor(case["scores"]).double(), torch.tensor(case["labels"])
    assert_close(average_precisions(scores, labels), case["pyslowfast"]["ap"])
    assert_close(average_precisions_official(scores, labels), case["official"]["ap"])
    assert mean_ap(scores, labels) == pytest.approx(case["pyslowfast"]["map"], abs=1e-12)
    assert mean_ap_official(scores, labels) == pytest.approx(case["official"]["map"], abs=1e-12)


@pytest.mark.parametrize("name", CHARADES)
def test_pyslowfast_manner(name):
    scores, labels, present, expected = charades_case(name)
    scores = filled(scores, present, -1e10)
    assert_close(average_precisions(scores, labels), expected["pyslowfast"]["ap"])
    assert mean_ap(scores, labels) == pytest.approx(expected["pyslowfast"]["map"], abs=1e-9)


@pytest.mark.parametrize("name", CHARADES)
def test_official_manner(name):
    scores, labels, present, expected = charades_case(name)
    scores = filled(scores, present, -math.inf)
    assert_close(average_precisions_official(scores, labels), expected["official"]["ap"])
    assert_close(recorded([mean_ap_official(scores, labels)]), [expected["official"]["map"]])


@pytest.mark.parametrize("name", [k for k in DEGENERATE if k not in ("nan_score",)])
def test_degenerate_cases(name):
    case = DEGENERATE[name]
    evaluator = MeanAP()
    for scores, labels in zip(case["scores"], case["labels"], strict=True):
        evaluator.update(torch.tensor(scores).view(1, 1, -1), torch.tensor([labels]).float())
    if case["pyslowfast_fallback_zero"]:
        with pytest.raises(DataError, match="no video has a label"):
            evaluator.compute()
    else:
        assert evaluator.compute()["mAP"] == pytest.approx(100 * case["pyslowfast_map"], abs=1e-9)


def test_nan_scores_raise():
    scores = recorded(DEGENERATE["nan_score"]["scores"][2]).view(1, 1, -1)
    with pytest.raises(TrainingError, match="NaN"):
        MeanAP().update(scores, torch.tensor([DEGENERATE["nan_score"]["labels"][2]]))


@pytest.mark.parametrize("method", ["max", "sum"])
@pytest.mark.parametrize("name", MULTI_VIEW)
def test_many_views(name, method):
    """Views arrive in any order; a video's are put together first."""
    case = MULTI_VIEW[name]
    preds, ids = torch.tensor(case["preds"]), torch.tensor(case["clip_ids"])
    evaluator, K = MeanAP(method), case["num_classes"]
    for video in range(case["num_videos"]):
        views = (ids // case["clips_per_video"] == video).nonzero().flatten()
        if len(views):
            scores = preds[views].unsqueeze(1)
            evaluator.update(scores, torch.tensor([case["labels"][views[0]]]))
        else:  # PySlowFast keeps a video without clips as a negative that ranks last
            evaluator.update(torch.full((1, 1, K), -1e10), torch.zeros(1, K, dtype=torch.int64))
    key = {"max": "max", "sum": "sum_with_zero_start_float64"}[method]
    expected = 100 * case["expected"][key]["map"]
    assert evaluator.compute()["mAP"] == pytest.approx(expected, abs=1e-6)


def test_official_is_left_out_where_it_is_not_defined():
    evaluator = MeanAP()
    for scores, labels in (([0.9, 0.1], [1, 0]), ([0.2, 0.3], [0, 0])):
        evaluator.update(torch.tensor(scores).view(1, 1, 2), torch.tensor([labels]))
    assert evaluator.compute() == {"mAP": 100.0, "videos": 2, "classes": 1}


def test_map_by_position():
    evaluator = MeanAP()
    evaluator.update(torch.tensor([[[0.9]], [[0.1]]]), torch.tensor([[1]]))
    evaluator.update(torch.tensor([[[0.5]], [[0.5]]]), torch.tensor([[0]]))
    assert evaluator.by_position() == [100.0, 50.0]


def test_the_task():
    """Sigmoid scores, a binary cross-entropy, the ensemble of the config."""
    cfg = load_cfg(None, ["TASK", "multi_label", "DATA.ENSEMBLE_METHOD", "max"])
    task = find_task(cfg.TASK)
    assert task.evaluator(cfg, "test").method == "max"
    assert task.loss is build_multi_label_loss
    logits, labels = torch.randn(2, 3, 4), torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 1]])
    p = torch.sigmoid(logits.mean(1))
    video = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    q, each = torch.sigmoid(logits), labels[:, None]
    clips = -(each * q.log() + (1 - each) * (1 - q).log()).mean()
    torch.testing.assert_close(task.loss(cfg)(logits, labels)["loss"], clips + video)

    model, views = toy_model().eval(), random_clips(2, 3, 3, 4, 16, 16)
    batch = VideoBatch(views.flatten(0, 1)[None], labels[:1], torch.tensor([0]))
    ((scores, target, _),) = task.predictor(cfg, "test")(model, [batch])
    assert torch.equal(target, labels[:1])
    logits = torch.logit(scores)
    torch.testing.assert_close(logits.softmax(-1), score_views(model, views, 30))
