"""One page on one or several runs: results, curves, gains, mistakes, configs, origins."""

from collections.abc import Sequence
from datetime import datetime

import yaml

from cmvl import __version__
from cmvl.evaluation.positions import plot_positions
from cmvl.report import outcome
from cmvl.report.curves import plot_curves
from cmvl.report.figures import filmstrip, plot_gains
from cmvl.report.origin import DEFAULTS, base_of, commands, differences, machine
from cmvl.report.page import (
    Markup,
    code,
    details,
    drawing,
    gain,
    heading,
    join,
    number,
    page,
    paragraph,
    photo,
    png,
    table,
)
from cmvl.report.runs import RunFolder
from cmvl.utils.errors import UserError, VideoError

SHOWN_CLASSES = 15  # with the largest gains, and as many with the largest losses
PAIRS, VIDEOS, FRAMES, HEIGHT = 4, 2, 8, 84  # of the worst confusions


def report(runs: Sequence[RunFolder], baseline: RunFolder | None = None) -> str:
    """HTML. Runs are held against `baseline`, if there is one; what a run lacks is said."""
    everything = [*([baseline] if baseline else []), *runs]
    sections = [("Results", _results(everything, baseline))]
    if len(everything) > 1:
        sections.append(("What differs", _between(everything)))
    sections.append(("Curves", _curves(everything)))
    if positions := _positions(everything):
        sections.append(("Clips by place in time", positions))
    for run in runs:
        several = f": {run.name}" if len(runs) > 1 else ""
        if baseline:
            sections.append((f"Gains over {baseline.name}{several}", _gains(run, baseline)))
        sections.append((f"Worst confusions{several}", _confusions(run)))
    sections += [(f"Origin: {run.name}", _origin(run)) for run in everything]
    today = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    title = ", ".join(run.name for run in runs) + (f" against {baseline.name}" if baseline else "")
    return page(title, f"cmvl {__version__}, written {today}", sections)


def _results(runs: Sequence[RunFolder], baseline: RunFolder | None) -> Markup:
    tested = [run for run in runs if run.accuracy]
    if not tested:
        return paragraph("Not tested yet: no results/summary.json.", soft=True)
    metrics = list(dict.fromkeys(key for run in tested for key in run.summary["metrics"]))
    base = baseline.accuracy[1] if baseline and baseline.accuracy else None
    rows = []
    for run in runs:
        found = run.summary.get("metrics", {})
        points = run.accuracy[1] - base if run.accuracy and base is not None else None
        shown = [_metric(found.get(key)) for key in metrics]
        first = [gain(None if run is baseline else points)] if base is not None else []
        about = [run.summary.get("data", "not tested"), *_training(run)]
        rows.append([run.name, *first, *shown, *about])
    columns = [*(["gain"] if base is not None else []), *metrics, "test", "epochs", "training"]
    parts = [table(["run", *columns], rows), *map(_left_out, runs)]
    return join(*parts, paragraph("Metrics in percent.", soft=True))


def _metric(value: float | None) -> Markup:
    return number(value, 0 if isinstance(value, int) else 2)


def _training(run: RunFolder) -> tuple[int | None, str]:
    """Epochs begun, and the time their steps took."""
    steps = run.lines("train")
    seconds, last = 0.0, 0
    for line in steps:
        last = 0 if line["step"] <= last else last
        seconds, last = seconds + line["step_s"] * (line["step"] - last), line["step"]
    minutes = round(seconds / 60)
    return (steps[-1]["epoch"] if steps else None), f"{minutes // 60}:{minutes % 60:02d} h"


def _left_out(run: RunFolder) -> Markup:
    """Videos that a test or training could not read."""
    parts = []
    if skipped := run.summary.get("skipped"):
        text = f"{run.name}: {len(skipped)} unreadable videos left out of the test"
        parts.append(details(text, code("\n".join(skipped))))
    if broken := sum(line.get("count", 0) for line in run.lines("broken")):
        parts.append(paragraph(f"{run.name}: unreadable videos replaced in training: {broken}."))
    return join(*parts)


def _between(runs: Sequence[RunFolder]) -> Markup:
    """The keys in which the runs' configs differ."""
    first = runs[0].config
    keys = sorted({key for run in runs[1:] for key, *_ in differences(run.config, first)})
    rows = [[key, *(_value(run.config.get(key)) for run in runs)] for key in keys]
    return table(["key", *(run.name for run in runs)], rows) if rows else paragraph("No key.")


def _curves(runs: Sequence[RunFolder]) -> Markup:
    try:
        return drawing(plot_curves(runs), "From log.jsonl; lines are the means of epochs.")
    except UserError as error:
        return paragraph(f"None: {error}.", soft=True)


def _positions(runs: Sequence[RunFolder]) -> Markup:
    """Figure 4."""
    curves = {r.name: [r.summary["by_position"]] for r in runs if r.summary.get("by_position")}
    if not curves:
        return join()
    what = {"top1": "clip top-1 (%)", "mAP": "clip mAP (%)"}
    metric = next(run.accuracy[0] for run in runs if run.name in curves)
    figure = plot_positions(curves, what.get(metric, metric))
    return drawing(figure, "Of the test's clips, by their place from first to last.")


def _gains(run: RunFolder, baseline: RunFolder) -> Markup:
    won = outcome.gains(run, baseline)
    if not won:
        return paragraph("The runs have no classes in common in results/per_class.csv.", soft=True)
    up = sum(g.points > 0 for g in won)
    down = sum(g.points < 0 for g in won)
    told = [paragraph(f"{up} classes gain, {down} lose, {len(won) - up - down} stay.")]
    both = outcome.changes(outcome.predictions(run), outcome.predictions(baseline))
    if both[0]:
        text = "Of {} videos tested by both, {} are right now that were not; {} were right before."
        told.append(paragraph(text.format(*both)))
    ends = won if len(won) <= 2 * SHOWN_CLASSES else [*won[:SHOWN_CLASSES], *won[-SHOWN_CLASSES:]]
    which = "All classes." if ends is won else f"The {SHOWN_CLASSES} first and last of {len(won)}."
    told.append(drawing(plot_gains([(g.name, g.points) for g in ends]), which))
    rows = [[g.name, g.count, number(g.before), number(g.after), gain(g.points)] for g in won]
    header = ["class", "tested", baseline.name, run.name, "gain"]
    return join(*told, details("every class", table(header, rows)))


def _confusions(run: RunFolder) -> Markup:
    """The pairs most often confused, with frames of the videos that were surest to be wrong."""
    found = outcome.predictions(run)
    if not found:
        return paragraph("No results/predictions.csv.", soft=True)
    wrong = sum(not p.correct for p in found)
    parts = [paragraph(f"{wrong} of {len(found)} videos are wrong.")]
    for label, prediction, count, videos in outcome.mistakes(found, PAIRS, VIDEOS):
        parts.append(heading(f"{label}, taken for {prediction}: {count}"))
        parts += [_film(video) for video in videos]
    matrix = run.path / "results" / "confusion.png"
    if matrix.is_file():
        parts.append(details("the whole matrix", png(matrix, "Rows are labels.")))
    return join(*parts)


def _film(video: outcome.Prediction) -> Markup:
    caption = f"{video.path}: {video.prediction} with a score of {video.score:.2f}"
    try:
        return photo(filmstrip(video.path, FRAMES, HEIGHT), caption)
    except VideoError as error:
        return paragraph(f"{caption}. No frames: {error}", soft=True)


def _origin(run: RunFolder) -> Markup:
    lines = commands(run)
    parts = [heading("Commands")]
    parts.append(code("\n".join(lines)) if lines else paragraph("Not in the log.", soft=True))
    if about := machine(run):
        parts += [heading("Last start"), table(["", ""], about)]
    if run.config:
        name, base = base_of(run)
        changed = [[k, _value(a), _value(b)] for k, a, b in differences(run.config, base)]
        parts.append(heading(f"Config against {name}"))
        header = ["key", run.name, "default" if name == DEFAULTS else "base"]
        parts.append(table(header, changed) if changed else paragraph("No difference."))
        everything = yaml.safe_dump(run.config, default_flow_style=None, width=100)
        parts.append(details("the whole config", code(everything)))
    return join(*parts)


def _value(value: object) -> str:
    return "" if value is None else "''" if value == "" else str(value)
