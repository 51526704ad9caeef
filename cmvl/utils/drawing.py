"""The look all figures share."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = "#8a8f98 #4c8fd6 #d6453d #3f9b5f #9a5fb5 #e08a2e #4bb3b3 #b0628a".split()


def finish(axes: "Axes") -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontsize(10)
