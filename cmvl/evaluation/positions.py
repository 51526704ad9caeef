"""Figure 4 of the paper for one's own runs."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from cmvl.utils.drawing import COLOURS, finish

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_positions(
    curves: Mapping[str, Sequence[Sequence[float]]], what: str = "clip accuracy (%)"
) -> "Figure":
    """`what` of single clips at each temporal position, one line per model.

    A model has one curve per seed; the line is their mean, the band their range.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    for (name, seeds), colour in zip(curves.items(), cycle(COLOURS), strict=False):
        positions = range(1, len(seeds[0]) + 1)
        columns = list(zip(*seeds, strict=True))
        mean = [sum(column) / len(column) for column in columns]
        axes.plot(positions, mean, "o-", color=colour, label=name)
        low, high = [min(c) for c in columns], [max(c) for c in columns]
        axes.fill_between(positions, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set(xlabel="temporal position of the clip", ylabel=what, xticks=list(positions))
    finish(axes)
    axes.legend(frameon=False)
    return figure
