"""Lists in PySlowFast's way: {train,val,test}.csv, lines `path label` without a header.

For frame folders a line may be `path frames label`, with the number of pictures in the folder.
"""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from cmvl.data.records import Records
from cmvl.utils.errors import DataError

DEMO = "to try cmvl without any data, `make demo` writes a small set of its own"
SEPARATORS = ("\t", ";", ",", " ")
INTEGER = "-?[0-9]+"


def find_list(folder: str, split: str, names: Sequence[str] = ()) -> str:
    """The path of `split`.csv, or of one of `names`. Raises DataError that says what is there."""
    if not folder:
        raise DataError(
            f"DATA.PATH_TO_DATA_DIR is not set: expected a folder with {split}.csv, lines "
            f"'path label'. Set it in the config or on the command line; {DEMO}."
        )
    if not os.path.isdir(folder):
        raise DataError(
            f"DATA.PATH_TO_DATA_DIR {folder}: no such folder (looked for "
            f"{os.path.abspath(folder)}). It holds train.csv, val.csv and test.csv, lines "
            f"'path label'; GETTING_STARTED.md says how to make them; {DEMO}."
        )
    for name in (f"{split}.csv", *names):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    there = sorted(name for name in os.listdir(folder) if name.endswith(".csv"))
    path = os.path.join(folder, f"{split}.csv")
    also = f" (nor {', '.join(names)})" if names else ""
    found = ", ".join(there) or "no csv file at all"
    message = f"{path}: no such list{also}; the folder has {found}."
    if split == "test" and "val.csv" in there:
        message += (
            " To test on the validation videos, copy or link val.csv to test.csv: "
            f"ln -s val.csv {path}"
        )
    elif not there:
        message += f" GETTING_STARTED.md says how to make it; {DEMO}."
    raise DataError(message)


def list_roots(folder: str, prefix: str) -> tuple[str, ...]:
    """Where a list's relative paths are looked for: DATA.PATH_PREFIX, or here and its folder."""
    return (prefix,) if prefix else ("", folder)


def read_list(
    path: str, separator: str, num_classes: int, roots: tuple[str, ...] = ("",)
) -> Records:
    """Read lines `path<separator>label`, split at the last separator; empty lines are left out.

    separator "" or "auto" is found: the one of tab, ; , and space that fits every line. If before
    the label of every line stands another number, that is the number of frames. Raises DataError
    for a line without label, a label that is no integer in 0..num_classes - 1, the official
    Kinetics csv, or an empty list.
    """
    separator = find_separator(path) if separator in ("", "auto") else separator
    rows = list(_rows(path, separator))
    if not rows:
        raise DataError(f"{path}: the list is empty; expected lines 'path{separator}label'")
    lines, videos, labels = zip(*rows, strict=True)
    check_labels(path, np.array(labels), lines, num_classes)
    counts = [video.rpartition(separator) for video in videos]
    if all(folder.strip() and count.strip().isdigit() for folder, _, count in counts):
        videos = [folder.strip() for folder, _, _ in counts]
        return Records(path, videos, labels, lines, roots, [int(count) for _, _, count in counts])
    return Records(path, videos, labels, lines, roots)


def split_line(line: str) -> list[tuple[str, int | None, int]]:
    """The ways to read a line as (path, frames, label): as a path alone, as `path label`, as
    `path frames label`, the separators those of `read_list`; None and -1 where it has none.
    """
    readings: list[tuple[str, int | None, int]] = [(line, None, -1)]
    for pattern in (rf"(.*\S)\s*[\t;, ]\s*({INTEGER})", r"(.*\S)\s*[\t;, ]\s*([0-9]+)"):
        match = re.fullmatch(pattern, readings[-1][0])
        if not match:
            break
        number, (_, _, label) = int(match[2]), readings[-1]
        first = len(readings) == 1
        readings.append((match[1], None if first else number, number if first else label))
    return readings


def find_separator(path: str) -> str:
    """The separator behind which every line has an integer; or most lines, if none fits all."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        lines = [line.strip() for line in islice(file, 10_000) if line.strip()]
    fits = {
        s: sum(bool(re.fullmatch(rf".*\S.*{re.escape(s)}\s*{INTEGER}", line)) for line in lines)
        for s in SEPARATORS
    }
    # A space also fits "a.mp4, 3", so of equals the first is taken.
    best = max(fits.values())
    return next(s for s in SEPARATORS if fits[s] == best) if best else " "


def _rows(path: str, separator: str) -> Iterator[tuple[int, str, int]]:
    """(line number, video, label) of every line."""
    name = os.path.basename(path)
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            text = line.strip()
            if not text:
                continue
            if number == 1 and "youtube_id" in text:
                raise DataError(
                    f"{path}: this is the official Kinetics annotation ({text!r}); expected lines "
                    f"'path{separator}label' of the videos you have. TRAIN.DATASET and "
                    "TEST.DATASET Kinetics read it as it is; "
                    "`python tools/prepare_data.py kinetics` makes such a list from it"
                )
            video, _, label = (part.strip() for part in text.rpartition(separator))
            if not video:
                raise DataError(
                    f"{name}:{number}: expected 'path{separator}label', got {text!r} in {path}. "
                    f"If the list is separated otherwise, set DATA.PATH_LABEL_SEPARATOR (it is "
                    f"{separator!r})."
                )
            if not re.fullmatch(INTEGER, label):
                raise DataError(
                    f"{name}:{number}: expected an integer label after the last {separator!r}, "
                    f"got {label!r} in {path}; number the classes 0, 1, 2, ..."
                )
            yield number, _as_path(video), int(label)


def _as_path(text: str) -> str:
    """Without the quotes that a writer of csv files puts around it, and ~ as a shell has it."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"')
    return os.path.expanduser(text)


def check_labels(path: str, labels: np.ndarray, lines: Sequence[int], num_classes: int) -> None:
    """Raises DataError, naming the first line, if a label is not in 0..num_classes - 1."""
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if not len(outside):
        return
    first = outside[0]
    message = (
        f"label {labels[first]} at {os.path.basename(path)}:{lines[first]}, MODEL.NUM_CLASSES is "
        f"{num_classes} (labels are 0..{num_classes - 1}); {len(outside)} such lines in {path}."
    )
    if labels.min() == 1 and labels.max() == num_classes:
        message += " The list counts from 1: subtract 1 from every label."
    else:
        message += f" Mend the list, or set MODEL.NUM_CLASSES to {labels.max() + 1} or more."
    raise DataError(message)
