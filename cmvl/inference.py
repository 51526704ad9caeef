"""The two scans over a video in tests: its views (Sec. 4.1, "Inference"), its key frames (4.5).

A task's predictor walks the batches of a whole test and yields what its evaluator takes.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from cmvl.layers.half import widen
from cmvl.model import VideoModel, as_maps, as_matrices
from cmvl.structures import KeyFrame, Prediction, VideoBatch

Activation = Callable[[Tensor], Tensor]  # logits -> scores
Predictor = Callable[[VideoModel, Iterable[VideoBatch]], Iterator[Prediction]]


def softmax(logits: Tensor) -> Tensor:
    return torch.softmax(widen(logits), dim=-1)


def sigmoid(logits: Tensor) -> Tensor:
    """In half precision all from 0.998 on would be one."""
    return torch.sigmoid(widen(logits))


@torch.inference_mode()
def score_views(
    model: VideoModel, views: Tensor, chunk: int, activation: Activation = softmax
) -> Tensor:
    """Scores (V, S, K) of V clips x S spatial crops, uint8 (V, S, 3, T, H, W).

    The memory is gathered from the V centre crops and read by all V S views. Every view passes
    the backbone once, `chunk` of them at a time: its features serve both scans.
    """
    V, S = views.shape[:2]
    maps = encode_views(model, views, chunk)
    scores = activation(model.head.windows(infuse_views(model, maps, S)))  # (1, V S, P, K)
    return scores.mean(dim=2)[0].unflatten(0, (V, S))


@torch.inference_mode()
def encode_views(model: VideoModel, views: Tensor, chunk: int) -> list[Tensor]:
    """Scan 1: X_n of all views, as maps (1, V S, d, t, h, w) per pathway."""
    scan = [model.features(c.unsqueeze(0)) for c in views.flatten(0, 1).split(chunk)]
    return [torch.cat(m, dim=1) for m in zip(*scan, strict=True)]


@torch.inference_mode()
def infuse_views(model: VideoModel, maps: Sequence[Tensor], S: int) -> list[Tensor]:
    """Scan 2: every view reads the memory of the centre crops. Maps (B, V S, ...) of B videos."""
    X = as_matrices(maps)
    M = model.memory.push([x[:, S // 2 :: S] for x in X])
    return as_maps(model.memory.infuse(X, model.memory.recall(M, X)), maps)


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


def build_view_predictor(cfg: CfgNode, split: str, activation: Activation = softmax) -> Predictor:
    """Scores (V, S, K) and labels (1, ...) of each batch, which is one video in all its views."""
    crops = cfg.TEST.NUM_SPATIAL_CROPS if split == "test" else 1
    chunk = cfg.TEST.CHUNK

    def predict(model: VideoModel, batches: Iterable[VideoBatch]) -> Iterator[Prediction]:
        for batch in batches:
            scores = predict_video(model, batch, crops, chunk, activation)
            yield Prediction(scores, batch.labels, int(batch.index))

    return predict


@torch.inference_mode()
def detect_video(
    model: VideoModel, keyframes: Iterable[VideoBatch], w: int, stride: int = 1, chunk: int = 1
) -> Iterator[tuple[Tensor, KeyFrame]]:
    """Scores (r, K) of every key frame with boxes, in order; each batch is one, with one clip.

    Every key frame passes the backbone once, `chunk` of them at a time. Its push stays while a
    window can hold it, and the memory of second t is the mean over the 2w + 1 pushes at
    t - w stride .. t + w stride; as in training, a second before the first key frame or after the
    last is that key frame itself. A second in between that is not there is left out.
    """
    reach = w * stride
    steps = range(-reach, reach + 1, stride)
    pushes: OrderedDict[int, list[Tensor]] = OrderedDict()  # S_t by second
    waiting: list[tuple[KeyFrame, list[Tensor], Tensor]] = []  # X_t whose window is not full yet
    first = None

    def finish(last: int) -> tuple[Tensor, KeyFrame]:
        keyframe, maps, boxes = waiting.pop(0)
        window = [min(max(keyframe.second + step, first), last) for step in steps]
        S = [pushes[second] for second in window if second in pushes]
        M = [torch.stack(m).mean(dim=0) for m in zip(*S, strict=True)]
        X = as_matrices(maps)
        X_hat = model.memory.infuse(X, model.memory.recall(M, X))
        return sigmoid(model.head(as_maps(X_hat, maps), boxes)), keyframe

    for batch, maps in _encoded(model, iter(keyframes), chunk):
        (keyframe,) = batch.keyframes
        first = keyframe.second if first is None else first
        pushes[keyframe.second] = model.memory.push(as_matrices(maps))
        if len(batch.boxes):
            waiting.append((keyframe, maps, batch.boxes))
        while waiting and waiting[0][0].second + reach <= keyframe.second:
            yield finish(keyframe.second)
        needed = (waiting[0][0].second if waiting else keyframe.second + 1) - reach
        while next(iter(pushes)) < needed and len(pushes) > 1:
            pushes.popitem(last=False)
    while waiting:
        yield finish(next(reversed(pushes)))


def _encoded(
    model: VideoModel, keyframes: Iterator[VideoBatch], chunk: int
) -> Iterator[tuple[VideoBatch, list[Tensor]]]:
    """Each key frame with its X_n, (1, 1, d, t, h, w) per pathway."""
    while group := list(islice(keyframes, chunk)):
        maps = model.features(torch.cat([batch.clips for batch in group], dim=1))
        for n, batch in enumerate(group):
            yield batch, [m[:, n : n + 1] for m in maps]


def build_box_predictor(cfg: CfgNode, split: str) -> Predictor:
    """`detect_video` for a stream of key frames, one video after another."""
    w, stride, chunk = cfg.VIDEO.NUM_CLIPS // 2, cfg.VIDEO.WINDOW, cfg.TEST.CHUNK

    def predict(model: VideoModel, batches: Iterable[VideoBatch]) -> Iterator[Prediction]:
        for _, keyframes in groupby(batches, key=lambda batch: batch.keyframes[0].video):
            for scores, keyframe in detect_video(model, keyframes, w, stride, chunk):
                yield Prediction(scores, keyframe, keyframe.index)

    return predict
