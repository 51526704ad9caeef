"""What a net is shown: the clips of some videos as training, validation or test take them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from cmvl.data.dataset import VideoDataset
from cmvl.data.frames import open_source
from cmvl.engine.board import FRAMES, picture
from cmvl.structures import VideoItem
from cmvl.utils.errors import DataError
from cmvl.utils.logging import printable

FRAME = 1.1  # side of a frame in a figure, inches
BOX = (60, 220, 90)


@dataclass(frozen=True)
class Shown:
    """One video: what is told of it, a row of words for each clip, and its clips."""

    title: str
    rows: list[str]
    clips: Tensor  # uint8 (N, 3, T, h, w)

    def __str__(self) -> str:
        return "\n  ".join([self.title, *self.rows])


def show_clips(data: VideoDataset, indices: Sequence[int], epoch: int = 0) -> Iterator[Shown]:
    """In the order of `indices`; `epoch` counts from 0. Raises DataError for a video that cannot
    be read.
    """
    for index in indices:
        item = data[epoch, index]
        if item.clips is None or item.index != index:  # left out, or another one in its place
            raise DataError(item.failures[0])
        yield _with_boxes(data, item) if item.boxes is not None else _with_frames(data, item, epoch)


def _with_frames(data: VideoDataset, item: VideoItem, epoch: int) -> Shown:
    records, i = data.records, item.index
    source = open_source(records.path(i), records.frames(i), data.target_fps, data.backend)
    with source as video:
        info = video.info
    frames = data.indices(info, np.random.default_rng([data.seed, epoch, i]))
    crops = len(item.clips) // len(frames)
    labels = ", ".join(_name(data, k) for k in records.labels_of(i)) or "no label"
    title = (
        f"{records.where(i)} {printable(records.path(i))}: {labels}; {info.frames} frames at "
        f"{info.fps:.4g} a second, {info.width} x {info.height}"
    )
    rows = []
    for n in range(len(item.clips)):
        row = frames[n // crops]
        crop = f" crop {n % crops + 1}" if crops > 1 else ""
        span = f"{row[0] / info.fps:.2f} to {row[-1] / info.fps:.2f} s"
        rows.append(f"clip {n // crops + 1}{crop}: {span}, frames {' '.join(map(str, row))}")
    return Shown(title, rows, item.clips)


def _with_boxes(data: VideoDataset, item: VideoItem) -> Shown:
    """The boxes are drawn into the clips."""
    clips, rows = item.clips.clone(), []
    for n, clip in enumerate(clips):
        boxes = item.boxes[item.boxes[:, 0] == n, 1:].round().int().tolist()
        for t in range(clip.shape[1]):
            frame = np.ascontiguousarray(clip[:, t].permute(1, 2, 0).numpy())
            for x1, y1, x2, y2 in boxes:
                cv2.rectangle(frame, (x1, y1), (x2, y2), BOX)
            clip[:, t] = torch.from_numpy(frame).permute(2, 0, 1)
        rows.append(f"clip {n + 1}: {len(boxes)} boxes")
    return Shown(data.records.where(item.index), rows, clips)


def draw_clips(shown: Sequence[Shown]) -> Figure:
    """A panel a video, a row a clip, of evenly spaced frames."""
    pictures = [picture(one.clips).permute(1, 2, 0).numpy() for one in shown]
    frames = max(min(FRAMES, one.clips.shape[2]) for one in shown)
    heights = [0.4 + FRAME * frames * p.shape[0] / p.shape[1] for p in pictures]
    size = FRAME * frames + 1.6, sum(heights)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    panels = figure.subplots(len(shown), height_ratios=heights, squeeze=False).flat
    for axes, one, pixels in zip(panels, shown, pictures, strict=True):
        side = pixels.shape[0] / len(one.rows)
        axes.imshow(pixels)
        axes.set_title(one.title, fontsize=8, loc="left")
        words = [row.partition(", frames")[0] for row in one.rows]
        axes.set_yticks([(n + 0.5) * side for n in range(len(words))], words, fontsize=7)
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
    return figure


def _name(data: VideoDataset, k: int) -> str:
    names = data.class_names
    return names[k] if k < len(names) and names[k] else f"class {k}"
