"""Testing a video in many views (Sec. 4.1, "Inference")."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from cmvl.model import VideoModel, as_maps, as_matrices
from cmvl.structures import VideoBatch

Activation = Callable[[Tensor], Tensor]  # logits -> scores
softmax = partial(torch.softmax, dim=-1)


@torch.inference_mode()
def score_views(
    model: VideoModel, views: Tensor, chunk: int, activation: Activation = softmax
) -> Tensor:
    """Scores (V, S, K) of V clips x S spatial crops, uint8 (V, S, 3, T, H, W).

    The memory is gathered from the V centre crops and read by all V S views. Every view passes
    the backbone once, `chunk` of them at a time: its features serve both scans.
    """
    V, S = views.shape[:2]
    scan = [model.features(c.unsqueeze(0)) for c in views.flatten(0, 1).split(chunk)]
    maps = [torch.cat(m, dim=1) for m in zip(*scan, strict=True)]  # scan 1: X_n of all views
    X = as_matrices(maps)
    M = model.memory.push([x[:, S // 2 :: S] for x in X])  # M from the centre crops only
    X_hat = model.memory.infuse(X, model.memory.pop(M, X))  # scan 2: every view reads the same M
    scores = activation(model.head.windows(as_maps(X_hat, maps)))  # (1, V S, P, K)
    return scores.mean(dim=2)[0].unflatten(0, (V, S))


def classify_video(model: VideoModel, views: Tensor, chunk: int) -> Tensor:
    """Scores (K,): the mean over all views of `score_views`."""
    return score_views(model, views, chunk).mean(dim=(0, 1))


def predict_video(
    model: VideoModel,
    batch: VideoBatch,
    crops: int,
    chunk: int,
    activation: Activation = softmax,
) -> Tensor:
    """`score_views` for a batch of one video whose views are numbered clip * crops + crop."""
    return score_views(model, batch.clips[0].unflatten(0, (-1, crops)), chunk, activation)
