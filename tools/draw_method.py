"""Draw the picture of the method that the README shows.

python tools/draw_method.py --out docs/images/method.png
"""

import argparse
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

INK, SOFT, LINE, PLAIN = "#1f2933", "#5b6775", "#7b8794", "#f1f4f8"
CLIPS = ("#3a7fc8", "#2f8f52", "#d9791a")  # a colour for each clip that is drawn
MEMORY, LOSS = "#c8372d", "#6b4fa0"
ROWS, NAMES = (3.75, 2.35, 0.75), "12N"
X_FILM, X_CLIP, X_F, X_X, X_GATE, X_HAT, X_H, X_LOSS = 0.45, 1.75, 3.1, 4.4, 8.35, 9.45, 10.7, 12.3
Y_MEMORY = 5.3


def box(
    axes: Axes, x: float, y: float, w: float, h: float, text: str, colour: str, size: float = 12
) -> None:
    """A rounded box around (x, y)."""
    axes.add_patch(
        FancyBboxPatch(
            (x - w / 2, y - h / 2), w, h, "round,pad=0,rounding_size=0.1",
            facecolor="white", edgecolor=colour, linewidth=1.5, zorder=3,
        )
    )  # fmt: skip
    style = {"ha": "center", "va": "center", "color": INK, "linespacing": 1.5, "zorder": 4}
    axes.text(x, y, text, fontsize=size, **style)


def path(axes: Axes, points: Sequence[tuple[float, float]], colour: str = LINE) -> None:
    """A line through the points with an arrow at its end."""
    x, y = zip(*points, strict=True)
    axes.plot(x[:-1], y[:-1], color=colour, linewidth=1.4, solid_joinstyle="round", zorder=2)
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", points[-1], points[-2], arrowprops=style, zorder=2)


def note(axes: Axes, x: float, y: float, text: str, colour: str = SOFT, **style) -> None:
    style = {"ha": "center", "va": "center", "fontsize": 10, "linespacing": 1.4} | style
    axes.text(x, y, text, color=colour, zorder=4, **style)


def draw_film(axes: Axes) -> None:
    """The whole video, and where in it the clips lie: at random, in no order."""
    frames, starts = 28, (21, 11, 2)
    top, step = 4.45, 4.4 / frames
    for i in range(frames):
        inside = [k for k, s in enumerate(starts) if s <= frames - 1 - i < s + 4]
        face = CLIPS[inside[0]] if inside else "#dde3ea"
        axes.add_patch(Rectangle((X_FILM - 0.25, top - i * step), 0.5, 0.8 * step, facecolor=face))
    for k, y in enumerate(ROWS):
        middle = top - (frames - 1 - starts[k] - 1.5) * step + 0.4 * step
        path(axes, [(X_FILM + 0.3, middle), (X_CLIP - 0.45, y)], CLIPS[k])
    note(axes, X_FILM, 4.85, "video", INK, fontsize=11)


def draw_row(axes: Axes, n: int) -> None:
    """What happens to one clip."""
    y, colour, name = ROWS[n], CLIPS[n], NAMES[n]
    for k in range(4):
        corner = (X_CLIP - 0.38 + 0.08 * (3 - k), y - 0.3 + 0.07 * (3 - k))
        axes.add_patch(
            Rectangle(corner, 0.6, 0.46, facecolor="white", edgecolor=colour, linewidth=1.3)
        )
    note(axes, X_CLIP - 0.08, y - 0.07, f"$C_{name}$", INK, fontsize=12)
    path(axes, [(X_CLIP + 0.48, y), (X_F - 0.36, y)])
    box(axes, X_F, y, 0.7, 0.62, "$f$", LINE, 14)
    path(axes, [(X_F + 0.36, y), (X_X - 0.38, y)])
    box(axes, X_X, y, 0.74, 0.62, f"$X_{name}$", colour)
    path(axes, [(X_X + 0.38, y), (X_GATE - 0.22, y)], colour)
    push, pop = 5.15 + 0.32 * n, X_GATE - 0.32 * n
    path(axes, [(push, y), (push, Y_MEMORY - 0.62)], colour)
    axes.add_patch(Circle((push, y), 0.045, facecolor=colour, edgecolor="none", zorder=3))
    corner = [(pop, y + 0.5), (X_GATE, y + 0.5)] if n else []
    path(axes, [(pop, Y_MEMORY - 0.62), *corner, (X_GATE, y + 0.22)], MEMORY)
    axes.add_patch(Circle((X_GATE, y), 0.2, facecolor="white", edgecolor=MEMORY, lw=1.5, zorder=3))
    note(axes, X_GATE, y - 0.005, "$\\odot$", INK, fontsize=15)
    path(axes, [(X_GATE + 0.22, y), (X_HAT - 0.38, y)], colour)
    box(axes, X_HAT, y, 0.74, 0.62, f"$\\hat{{X}}_{name}$", colour)
    path(axes, [(X_HAT + 0.38, y), (X_H - 0.36, y)])
    box(axes, X_H, y, 0.7, 0.62, "$h$", LINE, 14)
    path(axes, [(X_H + 0.36, y), (X_LOSS - 0.72, y)])


def draw() -> Figure:
    figure = Figure(figsize=(12.6, 6.11), dpi=160, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.05, 13.25), ylim=(-0.45, 6.0), aspect="equal")
    axes.set_axis_off()
    draw_film(axes)
    for n in range(3):
        draw_row(axes, n)
    for x in (X_CLIP - 0.08, X_F, X_X, X_HAT, X_H):
        note(axes, x, (ROWS[1] + ROWS[2]) / 2, "$\\vdots$", SOFT, fontsize=15)
    formula = "memory  $M=\\frac{1}{N}\\sum_{n}\\,(X_nW_k)^{\\top}(X_nW_v)$"
    box(axes, 6.75, Y_MEMORY, 4.5, 1.2, formula, MEMORY, 14)
    note(axes, 4.97, 4.4, "Push", INK, ha="right", fontsize=11)
    note(axes, 8.55, 4.4, "Pop  $M_n=(X_nW_q)\\,M$", INK, ha="left", fontsize=11)
    note(axes, X_GATE, -0.02, "gate\n$1+\\sigma(\\mathrm{GAP}(M_n)\\,W_O)$", fontsize=9.5)
    note(axes, X_F, -0.02, "one backbone\nfor all clips", fontsize=9.5)
    note(axes, X_H, -0.02, "one classifier", fontsize=9.5)
    note(axes, X_CLIP - 0.1, -0.02, "$N$ clips\nat random", fontsize=9.5)
    middle = (ROWS[0] + ROWS[2]) / 2
    loss = "mean of the\nclips' losses\n+\nloss of their\nmean logits"
    text = f"one loss\nfor the video\n(Eq. 1)\n\n{loss}"
    box(axes, X_LOSS, middle, 1.42, ROWS[0] - ROWS[2] + 0.9, text, LOSS, 10.5)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, metavar="PNG", help="the picture")
    draw().savefig(parser.parse_args().out)


if __name__ == "__main__":
    main()
