"""Detection in key frames per second: the rolling window against nine passes per key frame."""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from cmvl.config import load_cfg
from cmvl.data.ava_files import BoxRows
from cmvl.engine.setup import find_device
from cmvl.evaluation.ava import frame_ap
from cmvl.inference import detect_video
from cmvl.model import VideoModel, build_model
from cmvl.structures import KeyFrame, VideoBatch
from cmvl.tasks import find_task
from cmvl.utils.errors import ConfigError


def window_rates(file: str, opts: Sequence[str], keyframes: int, boxes: int = 3) -> dict:
    """Key frames per second of both ways on one made-up video, and how far their scores differ."""
    cfg = load_cfg(file, opts)
    if cfg.TASK != "detection":
        raise ConfigError(f"{file}: TASK is {cfg.TASK}, key frames are of TASK detection")
    device = find_device(cfg)
    torch.manual_seed(0)
    model = build_model(cfg, find_task(cfg.TASK).head).to(device).eval()
    size, w = cfg.DATA.TEST_CROP_SIZE, cfg.VIDEO.NUM_CLIPS // 2
    shape = (keyframes, 3, cfg.DATA.NUM_FRAMES, size, size)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8).to(device)
    corners = torch.rand(boxes, 2) * size / 2
    rows = torch.cat([torch.zeros(boxes, 1), corners, corners + size / 3], dim=1).to(device)
    chunk = cfg.TEST.CHUNK

    def roll(clips: torch.Tensor) -> list:
        return list(detect_video(model, _stream(clips, rows), w, chunk=chunk))

    roll(clips[:chunk])  # warm up
    rolling, seconds = _timed(device, lambda: roll(clips))
    direct, direct_seconds = _timed(device, lambda: _direct(model, clips, rows, w))
    pairs = zip(rolling, direct, strict=True)
    return {
        "rolling": keyframes / seconds,
        "direct": keyframes / direct_seconds,
        "difference": max((a - b).abs().max().item() for (a, _), b in pairs),
    }


def evaluator_seconds(detections: int) -> tuple[float, float]:
    """Of the vectorised evaluator and of a plain loop over the same made-up boxes."""
    rng = np.random.default_rng(0)
    truth = _rows(rng, detections // 20, detections // 60)
    near = rng.integers(0, len(truth), detections)
    moved = truth.boxes[near] + rng.normal(0, 0.03, (detections, 4))
    scores = rng.uniform(size=detections)
    found = BoxRows(truth.frames[near], moved, truth.actions[near], scores)
    start = time.perf_counter()
    result = frame_ap(truth, found, range(1, 61))
    middle = time.perf_counter()
    hits = _plain_matches(truth, found)
    end = time.perf_counter()
    assert hits == sum(result.n_tp.values())
    return middle - start, end - middle


def _stream(clips: torch.Tensor, rows: torch.Tensor) -> Iterator[VideoBatch]:
    for second, clip in enumerate(clips):
        keyframe = KeyFrame("made-up", second, rows[:, 1:].double().cpu())
        index, labels = torch.tensor([second]), torch.empty(0)
        yield VideoBatch(clip[None, None], labels, index, rows, keyframes=(keyframe,))


@torch.inference_mode()
def _direct(model: VideoModel, clips: torch.Tensor, rows: torch.Tensor, w: int) -> list:
    shifted = rows + torch.tensor([w, 0, 0, 0, 0], device=rows.device)
    steps, last = torch.arange(-w, w + 1), len(clips) - 1
    windows = ((t + steps).clamp(0, last) for t in range(len(clips)))
    return [model(clips[window][None], shifted).sigmoid() for window in windows]


def _timed(device: torch.device, work: Callable) -> tuple[list, float]:
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def _rows(rng: np.random.Generator, n: int, frames: int) -> BoxRows:
    low = rng.uniform(0, 0.5, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.2, 0.4, (n, 2))], axis=1)
    return BoxRows(rng.integers(0, frames, n), boxes, rng.integers(1, 61, n), np.ones(n))


def _plain_matches(truth: BoxRows, found: BoxRows) -> int:
    """True detections, one pair of boxes after another."""
    candidates: dict[tuple[int, int], list[int]] = {}
    for g, key in enumerate(zip(truth.frames.tolist(), truth.actions.tolist(), strict=True)):
        candidates.setdefault(key, []).append(g)
    taken, hits = set(), 0
    for d in range(len(found)):
        best, place = -1.0, -1
        for g in candidates.get((int(found.frames[d]), int(found.actions[d])), []):
            a, b = found.boxes[d], truth.boxes[g]
            inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
            inter *= max(min(a[3], b[3]) - max(a[1], b[1]), 0)
            areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
            iou = inter / (areas[0] + areas[1] - inter)
            best, place = (iou, g) if iou > best else (best, place)
        if best >= 0.5 and place not in taken and found.boxes[d][0] < found.boxes[d][2]:
            taken.add(place)
            hits += 1
    return hits
