"""Which frames a clip takes: pure functions of numbers, no files and no tensors.

N clips, T frames each, tau frames of video per frame of clip counted at `target_fps`; a video has
`length` frames. Starts and spans are fractions of frames until `frame_indices` cuts them. The rule
is PySlowFast's for Kinetics (its weights were trained so): T points over the whole span, hence a
stride of (span - 1) / (T - 1), not tau.
"""

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
