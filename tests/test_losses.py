"""Eq. 1 by hand."""

import pytest
import torch
from torch import nn

from cmvl.config import load_cfg
from cmvl.losses import VideoLoss


def cross_entropy(scores, label):
    return torch.logsumexp(scores, 0) - scores[label]


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_video_loss_is_equation_1(weight):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5, dtype=torch.float64)
    labels = torch.tensor([4, 1])
    expected, videos = 0.0, 0.0
    for b in range(2):
        clips = sum(cross_entropy(logits[b, n], labels[b]) for n in range(3)) / 3
        H = sum(logits[b, n] for n in range(3)) / 3
        expected += (clips + weight * cross_entropy(H, labels[b])) / 2
        videos += cross_entropy(H, labels[b]) / 2
    terms = VideoLoss(nn.CrossEntropyLoss(), weight)(logits, labels)
    torch.testing.assert_close(terms["loss"], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(terms["loss_video"], videos, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        terms["loss_clips"] + weight * terms["loss_video"], terms["loss"], rtol=0, atol=1e-12
    )


def test_smoothed_labels():
    """A share of each label is spread over all classes, in both terms of Eq. 1."""
    logits, labels = torch.randn(2, 3, 4, dtype=torch.float64), torch.tensor([3, 1])
    target = 0.8 * nn.functional.one_hot(labels, 4).double() + 0.2 / 4
    clips = -(target[:, None] * logits.log_softmax(2)).sum(2).mean()
    videos = -(target * logits.mean(1).log_softmax(1)).sum(1).mean()
    opts = ["TRAIN.LABEL_SMOOTHING", "0.2", "VIDEO.LOSS_WEIGHT", "0.5"]
    terms = VideoLoss.from_cfg(load_cfg(None, opts))(logits, labels)
    torch.testing.assert_close(terms["loss"], clips + 0.5 * videos, rtol=0, atol=1e-12)


def test_error_of_videos_is_that_of_the_mean_of_their_clips():
    logits = torch.tensor([[[3.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    loss = VideoLoss.from_cfg(load_cfg(None, ["VIDEO.LOSS_WEIGHT", "2.0"]))
    assert loss(logits, torch.tensor([0, 1]))["error"] == 0
    assert loss(logits, torch.tensor([1, 1]))["error"] == 50


def test_one_clip_counts_both_terms_alike():
    logits, labels = torch.randn(4, 1, 6), torch.tensor([0, 1, 2, 3])
    single = nn.CrossEntropyLoss()(logits[:, 0], labels)
    loss = VideoLoss(nn.CrossEntropyLoss(), 0.7)(logits, labels)["loss"]
    torch.testing.assert_close(loss, 1.7 * single)


def test_multi_label():
    """The same loss takes multi-hot labels and a binary cross-entropy."""
    logits, labels = torch.randn(2, 3, 4), torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 1]])
    bce = nn.BCEWithLogitsLoss()
    expected = sum(bce(logits[:, n], labels) for n in range(3)) / 3 + bce(logits.mean(1), labels)
    terms = VideoLoss(bce, 1.0)(logits, labels)
    torch.testing.assert_close(terms["loss"], expected)
    assert "error" not in terms
