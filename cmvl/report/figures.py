"""Figures of the paper for one's own runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmvl.data.frames import open_source
from cmvl.utils.drawing import finish


def plot_videos(videos: Mapping[Path, str], path: Path, frames: int = 14) -> None:
    """A filmstrip of evenly spaced frames for each video, with its label beside it."""
    figure = Figure(figsize=(9.0, 0.62 * len(videos)), dpi=150, layout="constrained")
    for axes, (file, label) in zip(figure.subplots(len(videos)), videos.items(), strict=True):
        axes.imshow(filmstrip(str(file), frames))
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(label, rotation=0, ha="right", va="center")
    figure.savefig(path)


def filmstrip(path: str, frames: int, height: int = 0) -> NDArray[np.uint8]:
    """Evenly spaced frames side by side, RGB, `height` pixels high (0: as they are).

    `path`: a video or a folder of pictures. Raises VideoError.
    """
    with open_source(path) as video:
        wanted = np.linspace(0, video.info.frames - 1, frames).astype(int)
        pictures = dict(video.frames(wanted))
    strip = np.concatenate([pictures[k] for k in wanted.tolist()], axis=1)
    if height:
        width = round(strip.shape[1] * height / strip.shape[0])
        strip = cv2.resize(strip, (width, height), interpolation=cv2.INTER_AREA)
    return strip


def plot_gains(gains: Sequence[tuple[str, float]]) -> Figure:
    """A bar for each (class, points), in the given order from the top."""
    figure = Figure(figsize=(7.0, 0.7 + 0.22 * len(gains)), dpi=150, layout="constrained")
    axes = figure.subplots()
    names, points = zip(*gains, strict=True)
    places = list(range(len(names)))[::-1]
    colours = ["#3f9b5f" if value >= 0 else "#d6453d" for value in points]
    axes.barh(places, points, color=colours, height=0.72)
    axes.set_yticks(places, names, fontsize=8)
    axes.axvline(0, color="#667080", linewidth=0.8)
    axes.set(xlabel="points gained over the baseline", ylim=(-0.7, len(names) - 0.3))
    finish(axes)
    axes.grid(axis="y", visible=False)
    return figure
