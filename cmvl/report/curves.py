"""Curves of several runs side by side, from their logs: losses, Figures 3 and 5 of the paper."""

from collections import defaultdict
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmvl.report.runs import RunFolder
from cmvl.utils.drawing import COLOURS, finish
from cmvl.utils.errors import UserError

LABELS = {
    "train.loss": "training loss",
    "train.loss_clips": "loss of clips (Eq. 1, first term)",
    "train.loss_video": "loss of videos (Eq. 1, second term)",
    "train.error": "training error (%)",
    "train.lr": "learning rate",
    "train.grad_norm": "gradient norm",
    "train.gate_mean": "gate, mean",
    "train.gate_saturated": "gate, share saturated",
    "train.step_s": "seconds per step",
    "train.data_s": "of these waiting for data",
    "train.memory_gb": "peak memory (GiB)",
    "val.top1": "validation top-1 (%)",
    "val.mAP": "validation mAP (%)",
}
USUAL = ("train.loss", "val.top1", "val.mAP", "train.lr", "train.gate_mean", "train.gate_saturated")
SINGLE = "single clip"
MEMORIES = {"NoMemory": "no memory", "AssociativeMemory": "CM", "AveragePoolMemory": "average pool"}
MARKED = 12  # points up to which each gets a marker
FEW = 40  # lines of a log up to which they are drawn as they are


def plot_curves(runs: Sequence[RunFolder], fields: Sequence[str] = ()) -> Figure:
    """A panel for each field "KIND.KEY" of the log, a line for each run; the usual ones if none
    are named. Raises UserError for a field that no run has.
    """
    wanted = fields or [name for name in USUAL if _has(runs, name)]
    for name in wanted:
        if not _has(runs, name):
            raise UserError(f"no run's log has {name!r}; there are: {', '.join(_known(runs))}")
    if not wanted:
        raise UserError("none of the logs has a training step or a validation yet")
    columns = min(3, len(wanted))
    rows = -(-len(wanted) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.0 * rows + 0.4), dpi=150, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, name in zip(panels, wanted, strict=False):
        for i, run in enumerate(runs):
            _smooth(axes, *run.series(*name.split(".", 1)), run.name, COLOURS[i % len(COLOURS)])
        axes.set(xlabel="epoch", title=LABELS.get(name, name))
        finish(axes)
    for axes in panels[len(wanted) :]:
        axes.set_axis_off()
    _legend(figure, panels[0])
    return figure


def plot_errors(runs: Sequence[RunFolder]) -> Figure:
    """Figure 5: errors of videos in training (dashed) and validation (solid), by epoch.

    Raises UserError for a run without validations of one label a video.
    """
    figure = Figure(figsize=(6.4, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for i, run in enumerate(runs):
        when, top1 = run.series("val", "top1")
        if not when:
            raise UserError(
                f"{run.path}: the log has no validation with top1; a figure of errors needs "
                "TRAIN.EVAL_PERIOD above 0 and TASK classification"
            )
        colour = COLOURS[i % len(COLOURS)]
        _line(axes, when, [100 - x for x in top1], f"{run.name}, validation", color=colour)
        steps = _by_epoch(*run.series("train", "error"))
        if steps[0]:  # older logs have none
            _line(axes, *steps, f"{run.name}, training", color=colour, linestyle="--", alpha=0.8)
    axes.set(xlabel="epoch", ylabel="error of videos (%)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    finish(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure


def plot_clips(runs: Sequence[RunFolder]) -> Figure:
    """Figure 3: the test's accuracy of videos against N, one line per length of clip and memory.

    Runs alike in these and in N (seeds) are averaged, a bar shows their range. Raises UserError
    for a run without results.
    """
    figure = Figure(figsize=(5.4, 4.0), dpi=150, layout="constrained")
    axes, ticks = figure.subplots(), set()
    for i, (kind, by_n) in enumerate(sorted(_by_clips(runs).items())):
        means = {n: sum(values) / len(values) for n, values in sorted(by_n.items())}
        spread = [
            [mean - min(by_n[n]) for n, mean in means.items()],
            [max(by_n[n]) - mean for n, mean in means.items()],
        ]
        style = {"color": COLOURS[i % len(COLOURS)], "capsize": 3, "label": kind}
        axes.errorbar(list(means), list(means.values()), spread, fmt="o-", **style)
        ticks |= set(means)
    axes.set_xticks(sorted(ticks))
    axes.set(xlabel="N, clips of a video in training", ylabel=f"video {runs[0].accuracy[0]} (%)")
    finish(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _by_clips(runs: Sequence[RunFolder]) -> dict[str, dict[int, list[float]]]:
    """Accuracies by line of Figure 3 and N. A single clip begins every line of its length."""
    found: dict[str, dict[str, dict]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for run in runs:
        if run.accuracy is None or not run.config:
            raise UserError(f"{run.path}: no test results (results/summary.json), or no config")
        config, n = run.config, run.config["VIDEO.NUM_CLIPS"]
        length = f"{config['DATA.NUM_FRAMES']}x{config['DATA.SAMPLING_RATE']}"
        memory = config["MEMORY.INTERACTION"]
        memory = SINGLE if n == 1 and memory == "NoMemory" else MEMORIES.get(memory, memory)
        found[f"{config['MODEL.BACKBONE']} {length}"][memory][n].append(run.accuracy[1])
    lines = {}
    for model, memories in found.items():
        single = memories.pop(SINGLE, {}) if len(memories) > 1 else {}
        for memory, by_n in memories.items():
            lines[f"{model}, {memory}"] = {
                n: [*single.get(n, []), *by_n[n]] for n in {*single, *by_n}
            }
    return lines


def _has(runs: Sequence[RunFolder], name: str) -> bool:
    kind, _, key = name.partition(".")
    return any(run.series(kind, key)[0] for run in runs)


def _known(runs: Sequence[RunFolder]) -> list[str]:
    return sorted(
        {
            f"{line['kind']}.{key}"
            for run in runs
            for line in run.log
            for key, value in line.items()
            if isinstance(value, int | float) and key not in ("epoch", "step", "steps")
        }
    )


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, **style) -> None:
    marker = "o" if len(x) <= MARKED else ""
    axes.plot(x, y, marker=marker, markersize=3, linewidth=1.4, label=label, **style)


def _smooth(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, colour: str) -> None:
    """Means of the epochs, with the lines of the log faintly behind them if there are many."""
    epochs = _by_epoch(x, y)
    if len(x) <= FEW or len(epochs[0]) < 3:
        return _line(axes, x, y, label, color=colour)
    axes.plot(x, y, linewidth=0.8, color=colour, alpha=0.25)
    return _line(axes, *epochs, label, color=colour)


def _by_epoch(when: Sequence[float], values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Means over the lines of each epoch, at its end."""
    epochs: dict[int, list[float]] = defaultdict(list)
    for x, y in zip(when, values, strict=True):
        epochs[-int(-x // 1)].append(y)
    return list(epochs), [sum(ys) / len(ys) for ys in epochs.values()]


def _legend(figure: Figure, axes: Axes) -> None:
    """One for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False
        )
