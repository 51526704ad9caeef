"""The study's figures, from its results file alone: Figures 3, 4 and 5 of the paper in small."""

from collections import defaultdict
from collections.abc import Sequence
from math import ceil
from statistics import mean

from matplotlib.figure import Figure

from cmvl.evaluation.positions import plot_positions
from cmvl.report.study import Line, Study
from cmvl.utils.drawing import COLOURS, finish

# Of Figure 5, by panel: its title, and the lines' cells and names; seeds are the table's.
DESIGNS = {
    "long": ("480 training videos", {"residual_long": "CM (residual)", "cm_long": "CM (gating)"}),
    "few": ("120 training videos", {"residual_few": "CM (residual)", "cm_few": "CM (gating)"}),
}


def plot_clip_counts(study: Study, results: Sequence[Line]) -> Figure:
    """Figure 3: accuracy of videos against N; the bar is the range over seeds."""
    figure = Figure(figsize=(5.4, 4.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    table = study.tables["fig3"]
    points = [
        (int(row.name.removeprefix("N = ")), [r["top1"] for r in table.runs(row.cell, results)])
        for row in table.rows
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
    table = study.tables["fig3"]
    curves = {
        row.name: [r["by_position"] for r in table.runs(row.cell, results)] for row in table.rows
    }
    figure = plot_positions({name: seeds for name, seeds in curves.items() if seeds})
    figure.axes[0].legend(frameon=False, ncols=len(curves), loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def plot_designs(study: Study, results: Sequence[Line]) -> Figure:
    """Figure 5: errors of videos in training (dashed) and validation (solid).

    Lines are means over seeds, bands their range.
    """
    figure = Figure(figsize=(9.2, 4.2), dpi=110, layout="constrained")
    panels = zip(figure.subplots(1, 2, sharey=True), DESIGNS.items(), strict=True)
    for axes, (key, (title, cells)) in panels:
        for (cell, name), colour in zip(cells.items(), COLOURS[1:], strict=False):
            runs = study.tables[key].runs(cell, results)
            for errors, style, what in (("val", "o-", "validation"), ("train", "--", "training")):
                x, seeds = _curves([r[errors] for r in runs])
                y = [mean(values) for values in seeds]
                axes.plot(x, y, style, markersize=3, color=colour, label=f"{name}, {what}")
                low, high = [min(v) for v in seeds], [max(v) for v in seeds]
                axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.set(xlabel="epoch", title=title)
        finish(axes)
    figure.axes[0].set_ylabel("error of videos (%)")
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def _curves(seeds: Sequence[Sequence[Sequence[float]]]) -> tuple[list[int], list[list[float]]]:
    """Of each seed's points (epoch, value): the ends of epochs, all seeds' means there."""
    found: dict[int, list[float]] = defaultdict(list)
    for points in seeds:
        epochs: dict[int, list[float]] = defaultdict(list)
        for when, value in points:
            epochs[ceil(when)].append(value)
        for epoch, values in epochs.items():
            found[epoch].append(mean(values))
    return list(found), list(found.values())


FIGURES = {"fig3": plot_clip_counts, "fig4": plot_places, "fig5": plot_designs}
