"""The results a test has left in OUTPUT_DIR/results, read back and held against another run's."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cmvl.report.runs import RunFolder

VALUES = ("top1", "AP")  # columns of per_class.csv, the first found counts


@dataclass(frozen=True)
class Prediction:
    """A row of predictions.csv."""

    path: str
    label: str
    prediction: str
    score: float
    correct: bool


@dataclass(frozen=True)
class ClassValue:
    """A row of per_class.csv: accuracy or average precision in percent, None without videos."""

    name: str
    videos: int
    value: float | None
    metric: str


@dataclass(frozen=True)
class Gain:
    """What a class has won over the baseline, in percent."""

    name: str
    videos: int
    before: float
    after: float

    @property
    def points(self) -> float:
        return self.after - self.before


def predictions(run: RunFolder) -> list[Prediction]:
    """Of the test, in the order of its list; none if there is no such file."""
    return [
        Prediction(r["path"], r["label"], r["prediction"], float(r["score"]), r["correct"] == "1")
        for r in _rows(run.path / "results" / "predictions.csv")
    ]


def classes(run: RunFolder) -> list[ClassValue]:
    """Of the test, in the order of the classes; none if there is no such file."""
    found = []
    for row in _rows(run.path / "results" / "per_class.csv"):
        metric = next((name for name in VALUES if name in row), "")
        if metric:
            value = None if row[metric] == "n/a" else float(row[metric])
            found.append(ClassValue(row["name"], int(row["videos"]), value, metric))
    return found


def gains(run: RunFolder, baseline: RunFolder) -> list[Gain]:
    """Of the classes that both have tested, the largest gain first."""
    before = {c.name: c.value for c in classes(baseline)}
    found = [
        Gain(c.name, c.videos, before[c.name], c.value)
        for c in classes(run)
        if c.value is not None and before.get(c.name) is not None
    ]
    return sorted(found, key=lambda g: (-g.points, g.name))


def mistakes(found: list[Prediction], pairs: int, videos: int) -> list[tuple[str, str, int, list]]:
    """(label, prediction, count, the surest `videos` of them) of the most frequent confusions."""
    wrong = [p for p in found if not p.correct]
    counts = Counter((p.label, p.prediction) for p in wrong)
    worst = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:pairs]
    return [
        (label, prediction, count, surest[:videos])
        for (label, prediction), count in worst
        for surest in [_surest(wrong, label, prediction)]
    ]


def _surest(wrong: list[Prediction], label: str, prediction: str) -> list[Prediction]:
    same = [p for p in wrong if (p.label, p.prediction) == (label, prediction)]
    return sorted(same, key=lambda p: -p.score)


def changes(run: list[Prediction], baseline: list[Prediction]) -> tuple[int, int, int]:
    """Videos that both tested, those that only the run has right, only the baseline."""
    before = {p.path: p.correct for p in baseline}
    pairs = [(before[p.path], p.correct) for p in run if p.path in before]
    return len(pairs), pairs.count((False, True)), pairs.count((True, False))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if path.is_file():
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            yield from csv.DictReader(file)
