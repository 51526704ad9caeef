"""A data set's rule for the frames of its clips, by name (`DATA.CLIP_RULE`)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmvl.data import sampling

Indices = NDArray[np.int64]  # (clips, T)


@dataclass(frozen=True)
class ClipRule:
    """T frames a clip, `tau` frames of video apart, counted at `target_fps`."""

    T: int
    tau: float
    target_fps: float

    def random(
        self, length: int, fps: float, N: int, rng: np.random.Generator, stratified: bool
    ) -> Indices:
        """N clips of a video of `length` frames at `fps`."""
        raise NotImplementedError

    def uniform(self, length: int, fps: float, V: int) -> Indices:
        """V clips, equally spaced."""
        raise NotImplementedError


class SpanRule(ClipRule):
    """Kinetics': T points spread evenly over T x tau frames."""

    def random(self, length, fps, N, rng, stratified) -> Indices:
        span = sampling.clip_span(self.T, self.tau, self.target_fps, fps)
        starts = sampling.random_clips(length, span, N, rng, stratified)
        return sampling.frame_indices(starts, span, self.T, length)

    def uniform(self, length, fps, V) -> Indices:
        span = sampling.clip_span(self.T, self.tau, self.target_fps, fps)
        starts = sampling.uniform_clips(length, span, V)
        return sampling.frame_indices(starts, span, self.T, length)


class StridedRule(ClipRule):
    """Charades': every tau-th frame."""

    def random(self, length, fps, N, rng, stratified) -> Indices:
        stride = self.tau * fps / self.target_fps
        starts = sampling.strided_random(length, self.T, stride, N, rng, stratified)
        return sampling.strided_indices(starts, self.T, stride, length)

    def uniform(self, length, fps, V) -> Indices:
        stride = self.tau * fps / self.target_fps
        starts = sampling.strided_uniform(length, self.T, stride, V)
        return sampling.strided_indices(starts, self.T, stride, length)


class SegmentRule(ClipRule):
    """Something-Something's (TSN): one frame of each of T parts; every clip is the whole video."""

    def random(self, length, fps, N, rng, stratified) -> Indices:
        return sampling.segment_random(length, self.T, N, rng)

    def uniform(self, length, fps, V) -> Indices:
        return sampling.segment_uniform(length, self.T, V)


RULES = {"span": SpanRule, "strided": StridedRule, "segments": SegmentRule}
