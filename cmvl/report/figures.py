"""Figures of the paper for one's own runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cmvl.data.decode import open_video

COLOURS = "#8a8f98 #4c8fd6 #d6453d #3f9b5f #9a5fb5 #e08a2e #4bb3b3 #b0628a".split()


def plot_positions(curves: Mapping[str, Sequence[Sequence[float]]], path: Path) -> None:
    """Figure 4: clip accuracy (%) at each temporal position, one line per model.

    A model has one curve per seed; the line is their mean, the band their range.
    """
    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    for (name, seeds), colour in zip(curves.items(), COLOURS, strict=False):
        positions = range(1, len(seeds[0]) + 1)
        columns = list(zip(*seeds, strict=True))
        mean = [sum(column) / len(column) for column in columns]
        axes.plot(positions, mean, "o-", color=colour, label=name)
        low, high = [min(c) for c in columns], [max(c) for c in columns]
        axes.fill_between(positions, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set(xlabel="temporal position of the clip", ylabel="clip accuracy (%)", ylim=(0, 102))
    axes.set_xticks(list(positions))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path)


def plot_videos(videos: Mapping[Path, str], path: Path, frames: int = 14) -> None:
    """A filmstrip of evenly spaced frames for each video, with its label beside it."""
    figure = Figure(figsize=(9.0, 0.62 * len(videos)), dpi=150, layout="constrained")
    for axes, (file, label) in zip(figure.subplots(len(videos)), videos.items(), strict=True):
        with open_video(file) as video:
            wanted = np.linspace(0, video.info.frames - 1, frames).astype(int)
            axes.imshow(np.concatenate(list(video.read(wanted)), axis=1))
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(label, rotation=0, ha="right", va="center")
    figure.savefig(path)
