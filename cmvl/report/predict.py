"""What a trained net says of one's own videos.

    from cmvl.report.predict import load_predictor

    predict = load_predictor("output/cm")  # a checkpoint, or a run's folder
    result = predict("my video.mp4")
    print(result.top(5))

V clips, S crops, K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmvl.data.decode import VideoInfo
from cmvl.evaluation.results import rank
from cmvl.evaluation.views import checked, ensemble
from cmvl.inference import infuse_views
from cmvl.report.trained import Trained, load_trained
from cmvl.report.videos import Failure, Footage, Source, read_videos
from cmvl.utils.errors import UserError, VideoError

Scores = NDArray[np.float64]
Named = list[tuple[str, float]]


def called(names: Sequence[str], c: int) -> str:
    """The name of class c, or its number."""
    return names[c] or str(c)


def best(scores: Scores, names: Sequence[str], k: int) -> Named:
    """(name, score) of the k best classes."""
    return [(called(names, c), float(scores[c])) for c in rank(scores)[:k]]


@dataclass(frozen=True)
class VideoPrediction:
    """Scores of a video, and of its clips by time."""

    source: Source
    info: VideoInfo
    class_names: Sequence[str]
    times: NDArray[np.float64]  # (V, 2) seconds
    scores: Scores  # (K,), as a test scores the video
    clips: Scores  # (V, K) every clip, having read the memory of all
    alone: Scores  # (V, K) every clip, had it been the whole video

    def top(self, k: int = 5) -> Named:
        return best(self.scores, self.class_names, k)

    def name(self, c: int) -> str:
        return called(self.class_names, c)


class VideoPredictor:
    """A trained net as a function of a video's path."""

    def __init__(self, trained: Trained):
        cfg = trained.cfg
        if cfg.TASK == "detection":
            raise UserError(
                f"{trained.path}: this net tells the actions of people in given boxes, not of "
                "whole videos; see --boxes"
            )
        self.trained = trained
        self.method, self.activation = cfg.DATA.ENSEMBLE_METHOD, trained.task.activation

    def __call__(self, path: str | Path) -> VideoPrediction:
        """Raises VideoError."""
        (result,) = self.each([Source(str(path))])
        if isinstance(result, Failure):
            raise VideoError(result.message)
        return result

    def each(
        self, sources: Sequence[Source], workers: int = 0
    ) -> Iterator[VideoPrediction | Failure]:
        """In the order of `sources`; those that cannot be read come as failures."""
        for footage in read_videos(self.trained.cfg, sources, workers):
            yield footage if isinstance(footage, Failure) else self.predict(footage)

    def predict(self, footage: Footage, maps: Sequence[Tensor] = ()) -> VideoPrediction:
        """`maps`: those of its clips, if they are there already."""
        maps = maps or self.trained.encode(footage.clips)
        V, S = footage.clips.shape[:2]
        scores = checked(self.score(maps, S)[0].unflatten(0, (V, S)))
        each = [x[0].unflatten(0, (V, S)) for x in maps]  # V videos of one clip
        alone = checked(self.score(each, S))
        return VideoPrediction(
            footage.source,
            footage.info,
            self.trained.class_names,
            footage.times,
            ensemble(scores, self.method, (0, 1)).numpy(),
            ensemble(scores, self.method, (1,)).numpy(),
            ensemble(alone, self.method, (1,)).numpy(),
        )

    @torch.inference_mode()
    def score(self, maps: Sequence[Tensor], S: int) -> Tensor:
        """Maps (B, V S, d, t, h, w) of B videos -> scores (B, V S, K)."""
        model = self.trained.model
        with self.trained.computing():
            return self.activation(model.head.windows(infuse_views(model, maps, S))).mean(dim=2)


def load_predictor(place: str | Path, opts: Sequence[str] = (), **options: str) -> VideoPredictor:
    """Of a checkpoint or a run's folder; arguments as of `load_trained`."""
    return VideoPredictor(load_trained(place, opts, **options))
