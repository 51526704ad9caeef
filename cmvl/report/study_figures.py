"""The study's figures, from its results file alone: Figures 3, 4 and 5 of the paper in small."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from math import ceil
from statistics import mean

from matplotlib.figure import Figure

from cmvl.evaluation.positions import plot_positions
from cmvl.report.study import Line, Study
from cmvl.utils.drawing import COLOURS, finish

DESIGNS = {"nomemory": "no memory", "residual_long": "CM (residual)", "cm_long": "CM (gating)"}


def plot_clip_counts(study: Study, results: Sequence[Line]) -> Figure:
    """Figure 3: accuracy of videos against N; the bar is the range over seeds."""
    figure = Figure(figsize=(5.4, 4.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    points = [
        (int(row.name.removeprefix("N = ")), [r["top1"] for r in _runs(results, row.cell)])
        for row in study.tables["fig3"].rows
    ]
    points = [(N, values) for N, values in points if values]
    means = [mean(values) for _, values in points]
    below = [m - min(values) for m, (_, values) in zip(means, points, strict=True)]
    above = [max(values) - m for m, (_, values) in zip(means, points, strict=True)]
    places = [N for N, _ in points]
    axes.errorbar(places, means, [below, above], fmt="o-", color=COLOURS[1], capsize=3)
    axes.set(xlabel="N, clips of a video in training", ylabel="video top-1 (%)", xticks=places)
    finish(axes)
    return figure


def plot_places(study: Study, results: Sequence[Line]) -> Figure:
    """Figure 4: accuracy of clips by their place, for every N."""
    curves = {
        row.name: [r["by_position"] for r in _runs(results, row.cell)]
        for row in study.tables["fig3"].rows
    }
    return plot_positions({name: seeds for name, seeds in curves.items() if seeds})


def plot_designs(study: Study, results: Sequence[Line]) -> Figure:
    """Figure 5: errors of videos in training (dashed) and validation (solid), means over seeds."""
    figure = Figure(figsize=(6.4, 4.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    for (cell, name), colour in zip(DESIGNS.items(), COLOURS, strict=False):
        runs = _runs(results, cell)
        for key, style, what in (("val", "o-", "validation"), ("train", "--", "training")):
            x, y = _curve([r[key] for r in runs])
            axes.plot(x, y, style, markersize=3, color=colour, label=f"{name}, {what}")
    axes.set(xlabel="epoch", ylabel="error of videos (%)")
    finish(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _runs(results: Sequence[Line], cell: str) -> list[Line]:
    return [line for line in results if line["cell"] == cell]


def _curve(seeds: Sequence[Sequence[Sequence[float]]]) -> tuple[list[int], list[float]]:
    """The means over seeds and over each epoch of points (epoch, value), at the epochs' ends."""
    epochs: dict[int, list[float]] = defaultdict(list)
    for when, value in chain(*seeds):
        epochs[ceil(when)].append(value)
    return list(epochs), [mean(values) for values in epochs.values()]


FIGURES = {"fig3": plot_clip_counts, "fig4": plot_places, "fig5": plot_designs}
