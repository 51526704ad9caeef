"""Lists in PySlowFast's way: {train,val,test}.csv, lines `path label` without a header.

For frame folders a line may be `path frames label`, with the number of pictures in the folder. A
video of several classes has `path 3,17`.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cmvl.data.records import MultiLabelRecords, Records
from cmvl.utils.errors import DataError

DEMO = "to try cmvl without any data, `make demo` writes a small set of its own"
INTEGER = "-?[0-9]+"
FRAME_LIST = "original_vido_id video_id frame_id path labels"  # PySlowFast's header, sic


@dataclass(frozen=True)
class Form:
    """How the labels of a line look, what may stand before them, and both in words."""

    labels: str
    separators: tuple[str, ...]
    words: str
    mend: str


ONE = Form(INTEGER, ("\t", ";", ",", " "), "an integer label", "number the classes 0, 1, 2, ...")
SEVERAL = Form(
    rf'(?:"?{INTEGER}(?:,{INTEGER})*"?|"")', ("\t", ";", " "), "labels such as 3,17",
    'no spaces between them, "" where a video has none',
)  # fmt: skip


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
    path: str, separator: str, num_classes: int, roots: tuple[str, ...] = ("",), form: Form = ONE
) -> Records:
    """Read lines `path<separator>label`, split at the last separator; empty lines are left out.

    separator "" or "auto" is found: the one of the form's that fits every line. If before the
    label of every line stands another number, that is the number of frames. Raises DataError for a
    line without label, a label that is no integer in 0..num_classes - 1, the official Kinetics
    csv, or an empty list. `form` SEVERAL: MultiLabelRecords, whose classes hold from start to end.
    """
    separator = find_separator(path, form) if separator in ("", "auto") else separator
    rows = list(_rows(path, separator, form))
    if not rows:
        raise DataError(f"{path}: the list is empty; expected lines 'path{separator}label'")
    lines, videos, labels = zip(*rows, strict=True)
    check_labels(path, labels, lines, num_classes)
    counts = [video.rpartition(separator) for video in videos]
    frames = None
    if all(folder.strip() and count.strip().isdigit() for folder, _, count in counts):
        videos = [folder.strip() for folder, _, _ in counts]
        frames = [int(count) for _, _, count in counts]
    if form is ONE:
        return Records(path, videos, [k for (k,) in labels], lines, roots, frames)
    actions = [[(k, 0.0, math.inf) for k in of_one] for of_one in labels]
    return MultiLabelRecords(path, videos, actions, lines, num_classes, roots, None, frames)


def split_line(line: str) -> list[tuple[str, int | None, int]]:
    """The ways to read a line as (path, frames, label): as a path alone, as `path label`, as
    `path frames label`, the separators those of `read_list`; None and -1 where it has none, or
    several labels.
    """
    readings: list[tuple[str, int | None, int]] = [(line, None, -1)]
    for form in (ONE, SEVERAL):
        pattern = rf"(.*\S)\s*[{''.join(form.separators)}]\s*"
        match = re.fullmatch(rf"{pattern}({form.labels})", line)
        if match and (form is ONE or not re.fullmatch(INTEGER, match[2])):
            label = int(match[2]) if form is ONE else -1
            counted = re.fullmatch(rf"{pattern}([0-9]+)", match[1])
            readings.append((match[1], None, label))
            readings += [(counted[1], int(counted[2]), label)] if counted else []
    return sorted(readings, key=lambda reading: reading[1] is not None)  # "a.mp4 3,17": no frames


def find_separator(path: str, form: Form = ONE) -> str:
    """The separator behind which every line has its labels; or most lines, if none fits all."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        lines = [line.strip() for line in islice(file, 10_000) if line.strip()]
    fits = {
        s: sum(bool(re.fullmatch(rf".*\S.*{re.escape(s)}\s*{form.labels}", line)) for line in lines)
        for s in form.separators
    }
    # A space also fits "a.mp4, 3", so of equals the first is taken.
    best = max(fits.values())
    return next(s for s in form.separators if fits[s] == best) if best else " "


def _rows(path: str, separator: str, form: Form) -> Iterator[tuple[int, str, list[int]]]:
    """(line number, video, labels) of every line."""
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
            if number == 1 and text.startswith(FRAME_LIST.split()[0]):
                raise DataError(
                    f"{path}: this is PySlowFast's frame list, which TRAIN.DATASET Charades reads; "
                    "expected lines 'path label'. For Something-Something make them from the "
                    "official files: `python tools/prepare_data.py ssv2`"
                )
            video, _, label = (part.strip() for part in text.rpartition(separator))
            if not video:
                raise DataError(
                    f"{name}:{number}: expected 'path{separator}label', got {text!r} in {path}. "
                    f"If the list is separated otherwise, set DATA.PATH_LABEL_SEPARATOR (it is "
                    f"{separator!r})."
                )
            cut = form is SEVERAL and video.endswith(",")  # "3, 17"
            if cut or not re.fullmatch(form.labels, label):
                headings = "" if number > 1 else "; a line of headings has no place here"
                raise DataError(
                    f"{name}:{number}: expected {form.words} after the last {separator!r}, "
                    f"got {label!r} in {path}; {form.mend}{headings}"
                )
            yield number, _as_path(video), [int(k) for k in re.findall(INTEGER, label)]


def _as_path(text: str) -> str:
    """Without the quotes that a writer of csv files puts around it, and ~ as a shell has it."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"')
    return os.path.expanduser(text)


def check_labels(
    path: str, labels: Sequence[Sequence[int]], lines: Sequence[int], num_classes: int
) -> None:
    """`labels` of the video at each of `lines`.

    Raises DataError where there is not one, or, naming the first line, where one is not in
    0..num_classes - 1.
    """
    pairs = [(k, line) for of_one, line in zip(labels, lines, strict=True) for k in of_one]
    if not pairs:
        raise DataError(f"{path}: not one of {len(lines)} videos has a label")
    outside = [(k, line) for k, line in pairs if not 0 <= k < num_classes]
    if not outside:
        return
    label, line = outside[0]
    message = (
        f"label {label} at {os.path.basename(path)}:{line}, MODEL.NUM_CLASSES is "
        f"{num_classes} (labels are 0..{num_classes - 1}); {len(outside)} such labels in {path}."
    )
    smallest, largest = min(pairs)[0], max(pairs)[0]
    if smallest == 1 and largest == num_classes:
        message += " The list counts from 1: subtract 1 from every label."
    else:
        message += f" Mend the list, or set MODEL.NUM_CLASSES to {largest + 1} or more."
    raise DataError(message)
