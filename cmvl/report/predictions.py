"""Predictions as plain data, as text for a console, as JSON and as CSV."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import simplejson

from cmvl.evaluation.results import write_csv
from cmvl.report.predict import Named, VideoPrediction, best
from cmvl.report.timeline import Timeline
from cmvl.report.videos import Failure
from cmvl.utils.files import write_text

Record = dict[str, Any]
EVENT = ("start", "end", "name", "score")
ACTION = ("second", "x1", "y1", "x2", "y2", "name", "score")


def record(result: VideoPrediction, k: int) -> Record:
    """A video's k best classes; those of its clips, with the memory and alone."""
    info, names = result.info, result.class_names
    clips = zip(result.times.tolist(), result.clips, result.alone, strict=True)
    return {
        "path": result.source.path,
        "seconds": round(info.frames / info.fps, 3),
        "frames": info.frames,
        "fps": info.fps,
        "top": _pairs(result.top(k)),
        "clips": [
            {
                "start": round(start, 3),
                "end": round(end, 3),
                "top": _pairs(best(scores, names, k)),
                "alone": _pairs(best(alone, names, k)),
            }
            for (start, end), scores, alone in clips
        ],
    }


def timeline_record(result: Timeline, k: int, threshold: float) -> Record:
    """A long video's windows with their k best classes, and its events."""
    windows = [
        {"start": round(start, 3), "end": round(end, 3), "top": _pairs(result.top(w, k))}
        for w, (start, end) in enumerate(result.times.tolist())
    ]
    events = [
        {"start": round(e.start, 3), "end": round(e.end, 3), "name": e.name, "score": e.score}
        for e in result.events(threshold)
    ]
    return {
        "path": result.source.path,
        "seconds": round(result.seconds, 3),
        "frames": result.info.frames,
        "fps": result.info.fps,
        "windows": windows,
        "events": events,
    }


def _pairs(top: Named) -> list[Record]:
    return [{"name": name, "score": round(score, 6)} for name, score in top]


def as_text(made: Record, clips: bool = False) -> str:
    """A video and its classes; with `clips` a line for each clip; or its events, or actions."""
    lines = [f"{made['path']}  ({clock(made['seconds'])}, {made['frames']} frames)"]
    if "actions" in made:
        return "\n".join([*lines, *_actions(made)])
    if "events" in made:
        found = made["events"]
        lines += [f"  {_span(e)}  {e['score']:.3f}  {e['name']}" for e in found]
        return "\n".join(lines if found else [*lines, "  no event of that score"])
    lines += [f"  {pair['score']:.3f}  {pair['name']}" for pair in made["top"]]
    if clips:
        lines.append("  clip             with the memory              alone")
        for clip in made["clips"]:
            told = [f"{c[0]['score']:.3f}  {c[0]['name']}" for c in (clip["top"], clip["alone"])]
            lines.append(f"  {_span(clip)}  {told[0]:27}  {told[1]}")
    return "\n".join(lines)


def _actions(made: Record) -> Iterator[str]:
    """The actions of a video, the best scored first, and when they are seen."""
    yield f"  {made['boxes']} boxes, {len(made['actions'])} actions in them"
    rows: dict[str, list[Record]] = {}
    for row in made["actions"]:
        rows.setdefault(row["name"], []).append(row)
    best = {name: max(row["score"] for row in found) for name, found in rows.items()}
    for name in sorted(best, key=best.get, reverse=True):
        when = sorted({row["second"] for row in rows[name]})
        span = f"{clock(when[0])} - {clock(when[-1])}"
        yield f"  {best[name]:.3f}  {name}, in {len(when)} seconds from {span}"


def _span(part: Record) -> str:
    return f"{clock(part['start'])} - {clock(part['end'])}"


def clock(seconds: float) -> str:
    """0:07.5, or 1:02:07.5 from an hour on."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def write_json(
    path: Path,
    weights: Path,
    settings: Mapping[str, Any],
    made: Sequence[Record],
    failed: Sequence[Failure],
) -> None:
    broken = [{"path": f.source.path, "error": f.message} for f in failed]
    content = {"weights": str(weights), "settings": settings, "videos": made, "failed": broken}
    write_text(path, simplejson.dumps(content, indent=1) + "\n")


def write_videos(path: Path, made: Sequence[Record]) -> None:
    """CSV: path and best classes with scores."""
    write_csv(path, ["path", *_best(made)], ([v["path"], *_cells(v["top"])] for v in made))


def write_clips(path: Path, made: Sequence[Record]) -> None:
    """CSV: path, start, end, best classes of every clip, with the memory and alone."""
    best = _best(made)
    header = ["path", "start", "end", *best, *(f"alone_{name}" for name in best)]
    rows = (
        [v["path"], c["start"], c["end"], *_cells(c["top"]), *_cells(c["alone"])]
        for v in made
        for c in v["clips"]
    )
    write_csv(path, header, rows)


def write_events(path: Path, made: Sequence[Record]) -> None:
    """CSV: path, start, end, name, score of every event."""
    rows = ([v["path"], *(e[c] for c in EVENT)] for v in made for e in v["events"])
    write_csv(path, ["path", *EVENT], rows)


def write_actions(path: Path, made: Sequence[Record]) -> None:
    """CSV: path, second, x1, y1, x2, y2 (in 0..1), name, score of every action in a box."""
    rows = ([v["path"], *(a[c] for c in ACTION)] for v in made for a in v["actions"])
    write_csv(path, ["path", *ACTION], rows)


def _best(made: Sequence[Record]) -> list[str]:
    k = max((len(video["top"]) for video in made), default=0)
    return [f"{what}{i + 1}" for i in range(k) for what in ("top", "score")]


def _cells(pairs: Sequence[Record]) -> list:
    return [cell for pair in pairs for cell in (pair["name"], pair["score"])]
