"""The results a test has left in OUTPUT_DIR/results, read back and held against another run's."""

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cmvl.report.runs import RunFolder
from cmvl.utils.errors import UserError

Row = TypeVar("Row")
# Columns of per_class.csv, of each the first found counts.
VALUES, COUNTS = ("top1", "AP"), ("videos", "ground_truth")


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
    """A row of per_class.csv: accuracy or average precision in percent of `count` videos, or
    boxes; None without any.
    """

    name: str
    count: int
    value: float | None


@dataclass(frozen=True)
class Gain:
    """What a class has won over the baseline, in percent."""

    name: str
    count: int
    before: float
    after: float

    @property
    def points(self) -> float:
        return self.after - self.before


def predictions(run: RunFolder) -> list[Prediction]:
    """Of the test, in the order of its list; none if there is no such file."""
    return _read(
        run.path / "results" / "predictions.csv",
        lambda row: Prediction(
            row["path"], row["label"], row["prediction"], float(row["score"]), row["correct"] == "1"
        ),
    )


def classes(run: RunFolder) -> list[ClassValue]:
    """Of the test, in the order of the classes; none if there is no such file."""
    return _read(run.path / "results" / "per_class.csv", _class_value)


def _class_value(row: dict[str, str]) -> ClassValue:
    value, count = (row[next((c for c in names if c in row), "")] for names in (VALUES, COUNTS))
    return ClassValue(row["name"], int(count), None if value == "n/a" else float(value))


def gains(run: RunFolder, baseline: RunFolder) -> list[Gain]:
    """Of the classes that both have tested, the largest gain first."""
    before = {c.name: c.value for c in classes(baseline)}
    found = [
        Gain(c.name, c.count, before[c.name], c.value)
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


def _read(path: Path, make: Callable[[dict[str, str]], Row]) -> list[Row]:
    """What `make` makes of every row. Raises UserError for a file that no test leaves so."""
    if not path.is_file():
        return []
    found = []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        try:
            found += [make(row) for row in reader]
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}:{reader.line_num}: damaged, no row of a test's results: test once more "
                "to write it (TRAIN.ENABLE False)"
            ) from error
    return found
