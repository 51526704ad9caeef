"""Which frames a clip takes: pure functions of numbers, no files and no tensors.

N clips, T frames each, tau frames of video per frame of clip counted at `target_fps`; a video has
`length` frames. Starts and spans are fractions of frames until `frame_indices` cuts them. The rule
is PySlowFast's for Kinetics (its weights were trained so): T points over the whole span, hence a
stride of (span - 1) / (T - 1), not tau.
"""

from math import ceil

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def clip_span(T: int, tau: float, target_fps: float, fps: float) -> float:
    """Frames of a video at `fps` that one clip spans; 1 or more."""
    return max(1.0, tau * T / target_fps * fps)


def random_clips(
    length: int, span: float, N: int, rng: np.random.Generator, stratified: bool = False
) -> Floats:
    """Starts (N,) of N independent uniform clips, which may overlap.

    `stratified`: clip n starts in the n-th of N equal parts of the possible starts. Independent
    starts keep the order drawn: sorted, clip n would always come from the n-th part of the video,
    and so would the n-th group of the clip-wise batch norm.
    """
    u = rng.random(N)
    if stratified:
        u = (np.arange(N) + u) / N
    return u * max(length - span, 0.0)


def uniform_clips(length: int, span: float, V: int, reach_end: bool = False) -> Floats:
    """Starts (V,) of V equally spaced clips, from 0 to (V - 1) / V of the possible starts.

    `reach_end`: the last clip ends (up to a frame) with the video, and a single clip lies in its
    middle (PySlowFast's `use_offset`).
    """
    delta = max(length - span, 0.0)
    if not reach_end:
        return delta * np.arange(V) / V
    if V == 1:
        return np.array([delta // 2])
    return np.arange(V) * (delta // (V - 1))


def frame_indices(starts: Floats, span: float, T: int, length: int) -> NDArray[np.int64]:
    """Frames (N, T) of the clips: T equally spaced points of [start, start + span - 1].

    Past the end of a video that is shorter than the clip its last frame is repeated.
    """
    points = np.linspace(starts, starts + (span - 1), T, axis=-1)
    return np.clip(points, 0, length - 1).astype(np.int64)


# Frame folders (PySlowFast's Charades and Something-Something): whole frames, a real stride.


def strided_random(
    length: int, T: int, stride: float, N: int, rng: np.random.Generator, stratified: bool = False
) -> NDArray[np.int64]:
    """Starts (N,), whole frames of equal chance (Charades' rule in training).

    A video shorter than a clip may start late in it: then starts are negative, which repeats the
    first frame. `stratified` as in `random_clips`.
    """
    room = length - ceil((T - 1) * stride + 1)
    u = rng.random(N)
    if stratified:
        u = (np.arange(N) + u) / N
    return min(room, 0) + np.floor(u * (abs(room) + 1)).astype(np.int64)


def strided_uniform(length: int, T: int, stride: float, V: int) -> NDArray[np.int64]:
    """Starts (V,) from the first possible one to the last; a single one lies in the middle."""
    room = max(length - ceil((T - 1) * stride + 1), 0)
    if V == 1:
        return np.array([room // 2])
    return np.round(room / (V - 1) * np.arange(V)).astype(np.int64)  # half to even, as there


def strided_indices(
    starts: NDArray[np.int64], T: int, stride: float, length: int
) -> NDArray[np.int64]:
    """Frames (N, T): start, start + stride, ... within the video."""
    points = np.asarray(starts)[:, None] + np.round(np.arange(T) * stride).astype(np.int64)
    return np.clip(points, 0, length - 1)


def segments(length: int, T: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last frame (T,) each of T equal parts of a video (Something-Something's rule)."""
    edges = np.round((length - 1) / T * np.arange(T + 1)).astype(np.int64)
    return edges[:-1], edges[1:]


def segment_random(length: int, T: int, N: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Frames (N, T): one of each part at random, both ends included."""
    low, high = segments(length, T)
    return rng.integers(low, high, size=(N, T), endpoint=True)


def segment_uniform(length: int, T: int, V: int) -> NDArray[np.int64]:
    """Frames (V, T): of each part the middle one; V of them equally spaced for V views."""
    low, high = segments(length, T)
    return low + (high - low) * (2 * np.arange(V)[:, None] + 1) // (2 * V)


def frames_at(seconds: Floats, fps: float, times: Floats | None = None) -> NDArray[np.int64]:
    """Frames nearest to `seconds` after the first one.

    `times`: the second of every frame; None for a constant rate. Beyond the ends by the rate `fps`.
    """
    numbers = seconds * fps
    if times is not None:
        found = np.interp(seconds, times, np.arange(len(times)))
        late = np.where(seconds > times[-1], np.maximum(found, numbers), found)
        numbers = np.where(seconds < 0, numbers, late)
    return np.round(numbers).astype(np.int64)


def keyframe_indices(
    centres: NDArray[np.int64], T: int, stride: float, length: int
) -> NDArray[np.int64]:
    """Frames (N, T) around the key frames `centres` (N,), half of a clip before them (AVA).

    Past the ends of a video its first or last frame is repeated.
    """
    steps = np.floor(np.arange(T) * stride).astype(np.int64) - int(T * stride) // 2
    return np.clip(np.asarray(centres)[:, None] + steps, 0, length - 1)
