"""A data set's rule for the frames of its clips, by name (`DATA.CLIP_RULE`)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmvl.data import sampling
from cmvl.utils.errors import ConfigError

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

    def span(self, fps: float) -> float:
        """Frames from the first of a clip to its last."""
        raise NotImplementedError

    def at(self, starts: NDArray[np.float64], length: int, fps: float) -> Indices:
        """Clips from these frames on."""
        raise NotImplementedError


class SpanRule(ClipRule):
    """Kinetics': T points spread evenly over T x tau frames."""

    def random(self, length, fps, N, rng, stratified) -> Indices:
        starts = sampling.random_clips(length, self.span(fps), N, rng, stratified)
        return self.at(starts, length, fps)

    def uniform(self, length, fps, V) -> Indices:
        return self.at(sampling.uniform_clips(length, self.span(fps), V), length, fps)

    def span(self, fps) -> float:
        return sampling.clip_span(self.T, self.tau, self.target_fps, fps)

    def at(self, starts, length, fps) -> Indices:
        return sampling.frame_indices(starts, self.span(fps), self.T, length)


class StridedRule(ClipRule):
    """Charades': every tau-th frame."""

    def random(self, length, fps, N, rng, stratified) -> Indices:
        stride = self._stride(fps)
        starts = sampling.strided_random(length, self.T, stride, N, rng, stratified)
        return sampling.strided_indices(starts, self.T, stride, length)

    def uniform(self, length, fps, V) -> Indices:
        stride = self._stride(fps)
        starts = sampling.strided_uniform(length, self.T, stride, V)
        return sampling.strided_indices(starts, self.T, stride, length)

    def span(self, fps) -> float:
        return (self.T - 1) * self._stride(fps) + 1

    def at(self, starts, length, fps) -> Indices:
        whole = np.floor(starts).astype(np.int64)
        return sampling.strided_indices(whole, self.T, self._stride(fps), length)

    def _stride(self, fps: float) -> float:
        return self.tau * fps / self.target_fps


class SegmentRule(ClipRule):
    """Something-Something's (TSN): one frame of each of T parts; every clip is the whole video."""

    def random(self, length, fps, N, rng, stratified) -> Indices:
        return sampling.segment_random(length, self.T, N, rng)

    def uniform(self, length, fps, V) -> Indices:
        return sampling.segment_uniform(length, self.T, V)

    def span(self, fps) -> float:
        raise ConfigError(
            "this net's clips span a whole video each, so they do not slide along one: set "
            "DATA.CLIP_RULE strided to cut it into clips"
        )


RULES = {"span": SpanRule, "strided": StridedRule, "segments": SegmentRule}
