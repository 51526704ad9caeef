"""Which class is taken for which: the matrix, the worst pairs, a picture for any number of classes.

Rows are labels, columns predictions, entries counts of videos.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cmvl.evaluation.results import write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Matrix = NDArray[np.int64]  # (K, K)
NAMED = 36  # classes up to which every row has its name
NUMBERED = 16  # and up to which every cell has its number
PAIRS = 24  # worst pairs beside a matrix without names
INK, PALE = "#1f2933", "Blues"


def confusion(labels: NDArray[np.int64], predictions: NDArray[np.int64], K: int) -> Matrix:
    return np.bincount(labels * K + predictions, minlength=K * K).reshape(K, K)


def worst_pairs(matrix: Matrix, n: int) -> list[tuple[int, int, int]]:
    """(label, prediction, count) of the n most frequent mistakes."""
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:n]
    rows, columns = np.unravel_index(order, matrix.shape)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(a, b, int(wrong[a, b])) for a, b in pairs if wrong[a, b]]


def write_confusion(matrix: Matrix, names: Sequence[str], path: Path) -> None:
    """A row for each label, a column for each prediction."""
    rows: Iterator = ([name, *row] for name, row in zip(names, matrix.tolist(), strict=True))
    write_csv(path, ["label", *names], rows)


def draw_confusion(matrix: Matrix, names: Sequence[str]) -> "Figure":
    """Shares of each label's videos. Many classes: the whole as a map, the worst pairs by name."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    K = len(names)
    named = K <= NAMED
    side = 2.6 + 0.28 * K if named else 6.4
    dpi = max(150, 2 * K / 5)  # two pixels a class at least
    figure = Figure(figsize=(max(side, 4.2) + (0 if named else 5.2), max(side, 3.4)), dpi=dpi)
    figure.set_layout_engine("constrained")
    axes = [figure.subplots()] if named else figure.subplots(1, 2, width_ratios=(6, 5))
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    norm = PowerNorm(0.5, 0, 1)  # rare mistakes are to be seen too
    image = axes[0].imshow(shares, cmap=PALE, norm=norm, interpolation="nearest")
    axes[0].set(xlabel="prediction", ylabel="label")
    figure.colorbar(image, ax=axes[0], shrink=0.7, label="share of the label's videos")
    accuracy = 100 * np.trace(matrix) / max(matrix.sum(), 1)
    title = f"{matrix.sum()} videos, {K} classes, {accuracy:.1f} % right"
    axes[0].set_title(title, fontsize=10, color=INK)
    if named:
        _names(axes[0], [_short(name) for name in names])
        if K <= NUMBERED:
            _numbers(axes[0], matrix, shares)
    else:
        _list_pairs(axes[1], matrix, names)
    return figure


def _names(axes: "Axes", names: Sequence[str]) -> None:
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(places, names, fontsize=8)


def _numbers(axes: "Axes", matrix: Matrix, shares: NDArray[np.float64]) -> None:
    for a, b in np.argwhere(matrix):
        colour = "white" if shares[a, b] > 0.3 else INK
        axes.text(b, a, str(matrix[a, b]), ha="center", va="center", fontsize=8, color=colour)


def _list_pairs(axes: "Axes", matrix: Matrix, names: Sequence[str]) -> None:
    axes.set_axis_off()
    axes.set_title("most frequent mistakes: label, taken for", loc="left", fontsize=9, color=INK)
    totals = matrix.sum(axis=1)
    for i, (a, b, count) in enumerate(worst_pairs(matrix, PAIRS)):
        y = 0.985 - i / PAIRS
        axes.text(0, y, f"{count} of {totals[a]}", fontsize=7, va="top", color=INK)
        axes.text(0.16, y, _short(names[a], 26), fontsize=7, va="top", color=INK)
        axes.text(0.58, y, _short(names[b], 26), fontsize=7, va="top", color=INK)


def _short(name: str, length: int = 24) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
