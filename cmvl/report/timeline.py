"""What happens when in a long video: windows that slide along it, and the events they make.

A window is to the net what a short video is: its clips share one memory. Clips of overlapping
windows are the same ones, so every clip passes the backbone once, as in `detect_video`. Memory does
not grow with the video.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmvl.data.build import find_dataset
from cmvl.data.decode import VideoInfo
from cmvl.data.rules import RULES, ClipRule
from cmvl.data.stream import open_stream, stream_clips
from cmvl.data.transforms import EvalTransform
from cmvl.evaluation.results import rank
from cmvl.evaluation.views import checked, ensemble
from cmvl.report.predict import Named, Scores, VideoPredictor, best, called
from cmvl.report.trained import Trained
from cmvl.report.videos import Source
from cmvl.utils.errors import UserError


@dataclass(frozen=True)
class Event:
    """A class, from when to when (seconds), and its mean score there."""

    name: str
    start: float
    end: float
    score: float


def halfway(times: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Borders (W + 1,) of the parts of a video for which W clips or windows speak."""
    middles = times.mean(axis=1)
    return np.concatenate([[0], (middles[1:] + middles[:-1]) / 2, [seconds]])


@dataclass(frozen=True)
class Timeline:
    """Scores (W, K) of the windows of a video; `times` (W, 2) are theirs in seconds."""

    source: Source
    info: VideoInfo
    class_names: Sequence[str]
    times: NDArray[np.float64]
    scores: Scores
    several: bool  # may classes hold at the same time?

    @property
    def shares(self) -> NDArray[np.float64]:
        """(W, 2): the part of the video for which a window speaks, up to half-way to the next."""
        borders = halfway(self.times, self.seconds)
        return np.stack([borders[:-1], borders[1:]], axis=1)

    @property
    def seconds(self) -> float:
        return self.info.frames / self.info.fps

    def top(self, w: int, k: int) -> Named:
        return best(self.scores[w], self.class_names, k)

    def events(self, threshold: float) -> list[Event]:
        """Runs of windows in which a class is the best (or, of several, one) and scores
        `threshold` or more; by their start."""
        wanted = self._wanted(threshold)
        found = np.flatnonzero(wanted.any(axis=0))
        events = [event for c in found for event in self._runs(c, wanted[:, c])]
        return sorted(events, key=lambda event: (event.start, -event.score))

    def longest(self, threshold: float) -> list[int]:
        """All classes: first those with events, the longest together first; then by score."""
        lengths = self.shares[:, 1] - self.shares[:, 0]
        seconds = lengths @ self._wanted(threshold)
        return np.lexsort([-self.scores.max(axis=0), -seconds]).tolist()

    def name(self, c: int) -> str:
        return called(self.class_names, c)

    def _wanted(self, threshold: float) -> NDArray[np.bool_]:
        """(W, K): the windows that make a class's events."""
        wanted = self.scores >= threshold
        if self.several:
            return wanted
        tops = np.array([rank(row)[0] for row in self.scores])
        return wanted & (np.arange(self.scores.shape[1]) == tops[:, None])

    def _runs(self, c: int, wanted: NDArray[np.bool_]) -> Iterator[Event]:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], wanted.astype(int), [0]])))
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            start, end = self.shares[a, 0], self.shares[b - 1, 1]
            yield Event(self.name(c), float(start), float(end), float(self.scores[a:b, c].mean()))


@dataclass(frozen=True)
class Layout:
    """Clips by their first frame (C,), and windows as ranges [a, b) of clips, with their frames."""

    starts: NDArray[np.float64]
    windows: list[tuple[int, int]]
    spans: NDArray[np.float64]  # (W, 2) frames


def lay_out(length: int, fps: float, span: float, window: float, stride: float, V: int) -> Layout:
    """Windows of `window` seconds (or of one clip) every `stride` seconds, each of V clips or more.

    All clips lie on one grid whose step divides the stride. The last window ends with the video,
    up to a step.
    """
    if window <= 0 or stride <= 0:
        raise UserError(f"--window {window:g} and --stride {stride:g} are seconds, more than 0")
    W, S = min(max(window * fps, span), length), stride * fps
    room = max(W - span, 0.0)
    hop = S / max(1, ceil(S * (V - 1) / room - 1e-9)) if room and V > 1 else S
    count = floor(room / hop + 1e-9) + 1
    per_stride = round(S / hop)
    last = max(floor((length - span) / hop + 1e-9), 0) + 1 - count  # first clip of the last window
    firsts = [*range(0, last + 1, per_stride)]
    if firsts[-1] != last:
        firsts.append(last)
    spans = np.array([[first * hop, first * hop + W] for first in firsts])
    used = sorted({clip for first in firsts for clip in range(first, first + count)})
    place = {clip: i for i, clip in enumerate(used)}
    windows = [(place[first], place[first] + count) for first in firsts]
    spans[-1, 1] = length
    return Layout(np.array(used) * hop, windows, np.minimum(spans, length))


class Slide:
    """Windows along a long video; `read` makes a row of the maps (1, c S, d, t, h, w) of one."""

    def __init__(self, trained: Trained, window: float, stride: float):
        cfg = self.cfg = trained.cfg
        self.trained, self.window, self.stride = trained, window, stride
        self.rule, self.transform = build_rule(trained), build_transform(trained)
        self.clips = cfg.TEST.NUM_ENSEMBLE_VIEWS

    def __call__(
        self, source: Source, read: Callable[[list[Tensor]], NDArray]
    ) -> tuple[VideoInfo, NDArray[np.float64], NDArray]:
        """What the video is, times (W, 2) of its windows in seconds, rows (W, ...).

        Raises VideoError.
        """
        with open_stream(source.path, self.cfg.DATA.TARGET_FPS) as video:
            info = video.info
            span = self.rule.span(info.fps)
            layout = lay_out(info.frames, info.fps, span, self.window, self.stride, self.clips)
            indices = self.rule.at(layout.starts, info.frames, info.fps)
            (view,) = self.transform.views(1, info.height, info.width)
            encoded = self._encoded(stream_clips(video, indices, view))
            rows = np.stack([read(maps) for maps in rolling(layout.windows, encoded)])
        return info, layout.spans / info.fps, rows

    def _encoded(self, clips: Iterator[tuple[int, Tensor]]) -> Iterator[list[Tensor]]:
        """Maps (1, S, d, t, h, w) of every clip."""
        for _, clip in clips:
            yield self.trained.encode(clip[None])


def rolling(
    windows: Sequence[tuple[int, int]], encoded: Iterator[list[Tensor]]
) -> Iterator[list[Tensor]]:
    """The maps of each window's clips; a clip is kept as long as a window needs it."""
    kept: deque[list[Tensor]] = deque()
    first = 0  # the clip at the left of `kept`
    for a, b in windows:
        while first + len(kept) < b:
            kept.append(next(encoded))
        while first < a:
            kept.popleft()
            first += 1
        yield [torch.cat(parts, dim=1) for parts in zip(*kept, strict=True)]


class TimelinePredictor:
    """A trained net as a function of a long video's path."""

    def __init__(self, trained: Trained, window: float, stride: float):
        self.predictor, self.slide = VideoPredictor(trained), Slide(trained, window, stride)
        self.several = trained.cfg.TASK == "multi_label"

    def __call__(self, source: Source) -> Timeline:
        """Raises VideoError."""
        info, times, scores = self.slide(source, self._score)
        names = self.predictor.trained.class_names
        return Timeline(source, info, names, times, scores, self.several)

    def _score(self, maps: list[Tensor]) -> Scores:
        scores = checked(self.predictor.score(maps, self.slide.transform.crops)[0])
        return ensemble(scores, self.predictor.method, (0,)).numpy()


def build_rule(trained: Trained) -> ClipRule:
    """How clips of this net take their frames."""
    data = trained.cfg.DATA
    own = find_dataset(trained.cfg.TEST.DATASET).clip_rule
    name = own if data.CLIP_RULE == "auto" else data.CLIP_RULE
    return RULES[name](data.NUM_FRAMES, data.SAMPLING_RATE, data.TARGET_FPS)


def build_transform(trained: Trained) -> EvalTransform:
    size = trained.cfg.DATA.TEST_CROP_SIZE
    return EvalTransform(size, size, trained.cfg.TEST.NUM_SPATIAL_CROPS)
