"""The 30-view test: one memory from the centre crops, each view through the backbone once."""

import pytest
import torch

from cmvl.heads import PooledHead
from cmvl.inference import classify_video, predict_video, score_views
from cmvl.model import as_maps, as_matrices
from cmvl.structures import VideoBatch
from cmvl.tasks import find_task

from toy import random_clips, toy_model

V, S = 4, 3


def literal_two_scans(model, views):
    """Sec. 4.1 as it stands: scan 1 builds M from the centre crops, scan 2 asks every crop."""
    memory = None
    for v in range(V):
        X = as_matrices(model.features(views[v, 1][None, None]))
        pushed = model.memory.push(X)
        memory = pushed if memory is None else [a + b for a, b in zip(memory, pushed, strict=True)]
    M = [m / V for m in memory]
    scores = torch.zeros(model.head.projection.out_features, dtype=torch.float64)
    for v in range(V):
        for s in range(S):
            maps = model.features(views[v, s][None, None])
            X = as_matrices(maps)
            X_hat = as_maps(model.memory.infuse(X, model.memory.pop(M, X)), maps)
            pooled = torch.cat([x.mean(dim=(3, 4, 5)) for x in X_hat], dim=-1)[0, 0]
            scores += model.head.projection(pooled).softmax(-1) / (V * S)
    return scores


def test_cached_test_equals_literal_two_scans():
    model = toy_model().eval()
    views = random_clips(V, S, 3, 4, 16, 16)
    with torch.no_grad():
        expected = literal_two_scans(model, views)
    for chunk in (1, 5, 100):
        scores = classify_video(model, views, chunk)
        torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)


def test_every_view_passes_the_backbone_once():
    model, seen = toy_model().eval(), []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    classify_video(model, random_clips(V, S, 3, 4, 16, 16), chunk=5)
    assert sum(seen) == V * S and max(seen) == 5


def test_only_centre_crops_feed_the_memory():
    model = toy_model().eval()
    views = random_clips(V, S, 3, 4, 16, 16)
    changed = views.clone()
    changed[:, 0] = random_clips(V, 3, 4, 16, 16, seed=1)  # side crops
    before, after = score_views(model, views, 30), score_views(model, changed, 30)
    torch.testing.assert_close(before[:, 1:], after[:, 1:])
    assert not torch.allclose(before[:, 0], after[:, 0])
    changed = views.clone()
    changed[0, 1] = random_clips(3, 4, 16, 16, seed=2)  # one centre crop
    assert not torch.allclose(before[1:], score_views(model, changed, 30)[1:])


def test_views_are_numbered_clip_times_crops():
    model = toy_model().eval()
    views = random_clips(V, S, 3, 4, 16, 16)
    flat = VideoBatch(views.flatten(0, 1)[None], torch.tensor([0]), torch.tensor([0]))
    torch.testing.assert_close(predict_video(model, flat, S, 30), score_views(model, views, 30))


def test_larger_crops_are_read_in_windows_of_the_training_size():
    """Scores of the windows are averaged, not their features (PySlowFast's test)."""
    model = toy_model(crop=16).eval()
    views = random_clips(1, 1, 3, 4, 20, 24)
    maps = model.features(views)
    X = as_matrices(maps)
    X_hat = as_maps(model.memory.infuse(X, model.memory.pop(model.memory.push(X), X)), maps)
    scores = []
    for y in range(2):
        for x in range(3):
            window = [m[..., y : y + 4, x : x + 4].mean(dim=(3, 4, 5)) for m in X_hat]
            scores.append(model.head.projection(torch.cat(window, dim=-1)).softmax(-1)[0, 0])
    expected = torch.stack(scores).mean(dim=0)
    torch.testing.assert_close(score_views(model, views, 30)[0, 0], expected)


def test_a_map_of_training_size_is_one_window():
    head = PooledHead([8, 4], 5, pool=2).double()
    maps = [torch.randn(2, 3, d, 4, 2, 2, dtype=torch.float64) for d in (8, 4)]
    torch.testing.assert_close(head.windows(maps)[:, :, 0], head(maps))
    smaller = [m[..., :1, :1] for m in maps]
    torch.testing.assert_close(head.windows(smaller)[:, :, 0], head(smaller))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_sigmoids_are_not_made_in_half_precision(dtype):
    """Above 0.998 bfloat16 knows one number alone, and ranks would tie."""
    logits = torch.tensor([6.5, 7.5, 9.0], dtype=dtype)
    scores = find_task("multi_label").activation(logits)
    assert scores.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(scores.double(), logits.double().sigmoid(), rtol=0, atol=1e-6)
