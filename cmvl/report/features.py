"""Features of one's own videos, as the net's head has them: a .npz for each video.

V clips, S crops, P windows of a map (one, unless a test crop is larger than a training crop), D
channels of all pathways together.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmvl.data.decode import VideoInfo
from cmvl.evaluation.results import write_csv
from cmvl.inference import infuse_views
from cmvl.report.timeline import Slide
from cmvl.report.trained import Trained
from cmvl.report.videos import Failure, Footage, Places, Source, read_videos
from cmvl.utils.errors import UserError, VideoError
from cmvl.utils.files import whole

KINDS = ("clip", "memory", "video")
HEAD = "head.npz"


@dataclass(frozen=True)
class Wanted:
    """`kind`: clip, before the memory; memory, after it, from which the head makes the clip's
    logits; video, the mean of these. `views`: crops and windows apart. See `--help` for windows."""

    kind: str = "memory"
    views: bool = False
    window: float = 0.0  # seconds
    stride: float = 0.0  # seconds; 0: the clips of a test
    resume: bool = False  # videos whose file is there are left alone
    workers: int = 0


@dataclass(frozen=True)
class Features:
    """Rows in the order of time; `times` (n, 2) in seconds."""

    source: Source
    info: VideoInfo
    times: NDArray[np.float64]
    values: NDArray[np.float32]  # (n, D), or (n, S, P, D)


class FeatureExtractor:
    """A trained net as a function from a video to features."""

    def __init__(self, trained: Trained, wanted: Wanted):
        if trained.cfg.TASK == "detection":
            raise UserError(f"{trained.path}: this net's features are of boxes, not of videos")
        check(wanted)
        self.trained, self.wanted = trained, wanted

    def each(self, sources: Sequence[Source]) -> Iterator[Features | Failure]:
        """In the order of `sources`."""
        if self.wanted.stride:
            yield from map(self._slide, sources)
            return
        for item in read_videos(self.trained.cfg, sources, self.wanted.workers):
            yield item if isinstance(item, Failure) else self.extract(item)

    def extract(self, footage: Footage) -> Features:
        """Of the clips of a test."""
        maps = self.trained.encode(footage.clips)
        values, times = self._pool(maps, footage.clips.shape[1]), footage.times
        if self.wanted.kind == "video":
            values = values.mean(axis=0, keepdims=True)
            times = np.array([[0, footage.info.frames / footage.info.fps]])
        return Features(footage.source, footage.info, times, values)

    @torch.inference_mode()
    def _pool(self, maps: Sequence[Tensor], S: int) -> NDArray[np.float32]:
        """Maps (1, V S, d, t, h, w) -> (V, D), or (V, S, P, D)."""
        model = self.trained.model
        with self.trained.computing():
            if self.wanted.kind != "clip":
                maps = infuse_views(model, maps, S)
            pooled = model.head.pooled(maps)[0].unflatten(0, (-1, S))
        return (pooled if self.wanted.views else pooled.mean(dim=(1, 2))).float().cpu().numpy()

    def _slide(self, source: Source) -> Features | Failure:
        """Of clips or windows along a long video, in flat memory."""
        wanted, trained = self.wanted, self.trained
        # A window of no length is one clip.
        slide = Slide(trained, wanted.window if wanted.kind == "video" else 1e-9, wanted.stride)
        S = slide.transform.crops
        try:
            info, times, values = slide(source, lambda maps: self._pool(maps, S).mean(axis=0))
        except VideoError as error:
            return Failure(source, str(error))
        if wanted.kind == "clip":  # the last window reaches to the end, the last clip may not
            end = times[-1, 0] + slide.rule.span(info.fps) / info.fps
            times[-1, 1] = min(end, times[-1, 1])
        return Features(source, info, times, values)


def check(wanted: Wanted) -> None:
    """Raises UserError for what does not go together."""
    if wanted.kind not in KINDS:
        raise UserError(f"--kind is {wanted.kind!r}; it can be {' | '.join(KINDS)}")
    if wanted.stride and wanted.kind == "memory":
        raise UserError(
            "along a long video a clip is in several windows and has features in each: take "
            "--kind clip, or --kind video with a --window"
        )
    if bool(wanted.window) != bool(wanted.stride and wanted.kind == "video"):
        raise UserError("--window goes with --stride and --kind video, which is one row a window")


def write_features(
    trained: Trained, sources: Sequence[Source], out: Path, wanted: Wanted
) -> Generator[str | Failure, None, None]:
    """NAME.npz for each video, index.csv of all, head.npz; a line, or a failure, for each."""
    extractor, places = FeatureExtractor(trained, wanted), Places(sources)
    out.mkdir(parents=True, exist_ok=True)
    write_head(trained, out / HEAD)
    files = {source.path: places.of(source, out, ".npz") for source in sources}
    if any(file.name == HEAD for file in files.values()):
        raise UserError(f"{out / HEAD}: is the head's file; rename the video called head")
    todo = [s for s in sources if not (wanted.resume and files[s.path].exists())]
    if len(todo) < len(sources):
        yield f"{len(sources) - len(todo)} videos are there already"
    for result in extractor.each(todo):
        if isinstance(result, Failure):
            yield result
            continue
        file = files[result.source.path]
        _save(result, trained, file)
        shape = " x ".join(map(str, result.values.shape))
        yield f"{file}  {shape}  {result.source.path}"
    rows = [[files[s.path].name, s.path, s.label] for s in sources if files[s.path].exists()]
    write_csv(out / "index.csv", ["file", "path", "label"], iter(rows))


def write_head(trained: Trained, path: Path) -> None:
    """weight (K, D), bias (K,) and class_names: logits are features @ weight.T + bias."""
    head = trained.model.head.projection
    weight, bias = (x.detach().float().cpu().numpy() for x in (head.weight, head.bias))
    names = np.array(trained.class_names)
    np.savez(path, weight=weight, bias=bias, class_names=names, weights=str(trained.path))


def _save(result: Features, trained: Trained, path: Path) -> None:
    """Whole or not at all."""
    source, info = result.source, result.info
    name = trained.class_names[source.label] if 0 <= source.label < len(trained.class_names) else ""
    with whole(path) as part, part.open("wb") as file:
        np.savez(
            file,
            features=result.values,
            times=result.times,
            path=source.path,
            label=source.label,
            label_name=name,
            frames=info.frames,
            fps=info.fps,
        )
