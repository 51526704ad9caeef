"""Segments of long videos, listed in csv files of one's own, as entries for `prepare`."""

import csv
import math
import os
from collections.abc import Iterator

from cmvl.data.prepare import Entry, Splits, number_labels
from cmvl.data.text import open_text
from cmvl.utils.errors import DataError

COLUMNS = ("path", "start", "end", "label")


def segment_entries(train: str, val: str, test: str = "") -> tuple[Splits, dict[str, int]]:
    """csv files with the columns path, start, end (seconds, or h:m:s) and label, and any others.

    Classes are numbered in the alphabetical order of `train`'s labels. Without `test` the segments
    of `val` are the test's too. Raises DataError, naming the line.
    """
    files = {"train": train, "val": val} | ({"test": test} if test else {})
    return number_labels({split: list(_read(path)) for split, path in files.items()})


def _read(file: str) -> Iterator[Entry]:
    """Labelled by the names of classes."""
    name = os.path.basename(file)
    with open_text(file, newline="") as lines:
        reader = csv.DictReader(lines, skipinitialspace=True)
        if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            raise DataError(
                f"{name}:1: expected columns {','.join(COLUMNS)}, found no {missing[0]} in {file}"
            )
        for row in reader:
            where = f"{name}:{reader.line_num}"
            path, label = (str(row[column] or "").strip() for column in ("path", "label"))
            try:
                start, end = seconds(row["start"]), seconds(row["end"])
                if not (path and label and 0 <= start < end < math.inf):
                    raise ValueError
            except (ValueError, AttributeError) as error:
                raise DataError(
                    f"{where}: expected a path, a start before its end (seconds, or h:m:s) and a "
                    f"label, got {','.join(str(row[column]) for column in COLUMNS)!r} in {file}"
                ) from error
            yield Entry(where, path, label, span=(start, end))


def seconds(text: str) -> float:
    """Of a text such as 71.5 or 0:01:11.5. Raises ValueError."""
    total = 0.0
    for part in text.strip().split(":"):
        total = 60 * total + float(part)
    return total
