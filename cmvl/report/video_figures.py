"""The drawings of a video's page: curves over time, affinities, gates."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmvl.report.explain import PathwayMemory
from cmvl.report.predict import Scores, VideoPrediction
from cmvl.report.timeline import Timeline

CHANNELS = 12  # of a pathway
CROWD = 100  # windows of which not each is marked
INK, SOFT = "#1f2933", "#667080"


def draw_curves(result: VideoPrediction, classes: Sequence[int], colours: Sequence[str]) -> Figure:
    """Clip scores of some classes over time: alone, and with the memory."""
    figure = Figure(figsize=(9.6, 3.3), layout="constrained")
    for axes, scores, title in zip(
        figure.subplots(1, 2, sharey=True),
        (result.alone, result.clips),
        ("every clip alone", "with the memory"),
        strict=True,
    ):
        _scores(axes, result, scores, classes, colours)
        axes.set_title(title, fontsize=10, loc="left")
    figure.axes[0].set_ylabel("score")
    lines = figure.axes[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def draw_timeline(
    result: Timeline, classes: Sequence[int], colours: Sequence[str], threshold: float
) -> Figure:
    """Window scores of some classes over time, and the score from which they are events."""
    figure = Figure(figsize=(9.6, 3.3), layout="constrained")
    axes = figure.subplots()
    marker = "o-" if len(result.times) <= CROWD else "-"
    _scores(axes, result, result.scores, classes, colours, marker)
    axes.axhline(threshold, color=SOFT, linewidth=0.8, linestyle="--")
    axes.set_ylabel("score")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def draw_affinity(memories: Sequence[PathwayMemory], times: NDArray[np.float64]) -> Figure:
    """One map a pathway, white at 0."""
    shown = [m for m in memories if m.affinity is not None]
    figure = Figure(figsize=(4.6 * len(shown) + 0.2, 3.9), layout="constrained")
    N = len(times)
    step = max(1, N // 12)
    for axes, memory in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        limit = max(np.abs(memory.affinity).max(), 1e-12)
        image = axes.imshow(memory.affinity, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set_xticks(range(0, N, step), [f"{n + 1}" for n in range(0, N, step)])
        labels = [f"{n + 1}   {times[n, 0]:.1f} s" for n in range(0, N, step)]
        axes.set_yticks(range(0, N, step), labels)
        axes.set(xlabel="clip m, which wrote", ylabel="clip n, which reads")
        axes.tick_params(labelsize=8)
        if len(memories) > 1:
            axes.set_title(f"{memory.name} pathway", fontsize=10, loc="left")
        figure.colorbar(image, ax=axes, shrink=0.85).ax.tick_params(labelsize=8)
    return figure


def draw_gates(memories: Sequence[PathwayMemory]) -> Figure:
    """A row a pathway: gates of its strongest channels by clip, and their pull."""
    shown = [m for m in memories if m.gates is not None]
    figure = Figure(figsize=(9.6, 3.4 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 2, width_ratios=(3, 2), squeeze=False)
    for (left, right), memory in zip(grid, shown, strict=True):
        channels = memory.strongest(CHANNELS)
        rows = range(len(channels))
        gates = memory.gates[:, channels].T
        image = left.imshow(gates, cmap="PuOr_r", vmin=0, vmax=1, aspect="auto")
        figure.colorbar(image, ax=left, label="gate").ax.tick_params(labelsize=8)
        N = gates.shape[1]
        step = max(1, N // 12)
        left.set_xticks(range(0, N, step), [str(n + 1) for n in range(0, N, step)])
        left.set_yticks(rows, [f"channel {c}" for c in channels], fontsize=8)
        left.set(xlabel="clip")
        pull = memory.pull[channels]
        right.barh(rows, pull, color=["#3d85c6" if p > 0 else "#c0695a" for p in pull])
        right.invert_yaxis()
        right.set_yticks(rows, [""] * len(channels))
        right.axvline(0, color=SOFT, linewidth=0.8)
        right.set(xlabel="pull on the logit")
        _plain(right)
        if len(memories) > 1:
            left.set_title(f"{memory.name} pathway", fontsize=10, loc="left")
    return figure


def _scores(
    axes,
    result: VideoPrediction | Timeline,
    scores: Scores,
    classes: Sequence[int],
    colours: Sequence[str],
    marker: str = "o-",
) -> None:
    """Of clips or windows, by the middle of their time."""
    middles = result.times.mean(axis=1)
    for c, colour in zip(classes, colours, strict=False):
        axes.plot(middles, scores[:, c], marker, color=colour, label=result.name(c), markersize=4)
    axes.set(xlabel="seconds", ylim=(-0.03, 1.03), xlim=(0, result.info.frames / result.info.fps))
    _plain(axes)


def _plain(axes) -> None:
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
