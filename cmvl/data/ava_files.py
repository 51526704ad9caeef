"""The text files of AVA and of data sets in its format: boxes, label map, excluded key frames.

A frame is (video, time). Box rows are `video, time, x1, y1, x2, y2, action, person or score`, no
header, boxes in 0..1 of the picture; the last column may be missing, and a row of two columns
lists a frame without boxes.
"""

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from cmvl.data.text import open_text
from cmvl.utils.errors import DataError

SECONDS = 10**6  # more than a video has
NO_ACTION = -1  # of a detector's box whose action column is empty
COLUMNS = "video, time, x1, y1, x2, y2, action, person or score"


class Frames:
    """Numbers (video, time) from 0, in the order in which they are first asked for."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, float], int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, video: str, time: float) -> int:
        return self._numbers.setdefault((video, time), len(self._numbers))

    def keys(self) -> list[tuple[str, float]]:
        """(video, time) of frame 0, 1, 2 ..."""
        return list(self._numbers)


@dataclass(frozen=True)
class BoxRows:
    """n rows of a box file."""

    frames: NDArray[np.int64]  # (n,) numbers of `Frames`
    boxes: NDArray[np.float64]  # (n, 4) x1, y1, x2, y2
    actions: NDArray[np.int64]  # (n,)
    values: NDArray[np.float64]  # (n,) score, or person

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, rows: NDArray) -> "BoxRows":
        """The rows of a mask, or of numbers in their order."""
        return BoxRows(self.frames[rows], self.boxes[rows], self.actions[rows], self.values[rows])


def box_rows(rows: Iterable[tuple[int, tuple[float, ...], int, float]]) -> BoxRows:
    """From (frame, box, action, value), one after another."""
    frames, boxes, actions, values = zip(*rows, strict=True) if (rows := list(rows)) else [()] * 4
    return BoxRows(
        np.array(frames, np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(actions, np.int64),
        np.array(values, np.float64),
    )


def read_boxes(
    path: str, frames: Frames, whole: bool = True, num_actions: int = 0
) -> tuple[BoxRows, set[int]]:
    """The rows of a box file, and the numbers of all frames it lists.

    `whole`: times are integers ("902" is "0902"); otherwise they have 6 decimals. `num_actions`:
    actions above it are refused. Raises DataError, naming the line.
    """
    rows, listed = [], set()
    for where, columns in csv_rows(path):
        if len(columns) not in (2, 7, 8):
            raise DataError(
                f"{where}: expected 7 or 8 columns ({COLUMNS}), or 2 for a frame without boxes, "
                f"found {len(columns)} in {','.join(columns)!r}"
            )
        frame = frames.number(columns[0], read_time(columns[1], whole, where))
        listed.add(frame)
        if len(columns) > 2:
            box = tuple(_number(text, where) for text in columns[2:6])
            value = _number(columns[7], where) if len(columns) == 8 and columns[7] else 1.0
            rows.append((frame, box, _action(columns[6], num_actions, where), value))
    return box_rows(rows), listed


def read_excluded(path: str, frames: Frames, whole: bool = True) -> set[int]:
    """Numbers of the frames listed in a file of `video, time`."""
    numbers = set()
    for where, columns in csv_rows(path):
        if len(columns) < 2:
            raise DataError(f"{where}: expected 'video,time', found {','.join(columns)!r}")
        numbers.add(frames.number(columns[0], read_time(columns[1], whole, where)))
    return numbers


def read_label_map(path: str) -> dict[int, str]:
    """{id: name} of a pbtxt with blocks of `name: "..."` and `id: 1` or `label_id: 1`."""
    names: dict[int, str] = {}
    name = ""
    with _open(path) as file:
        lines = list(file)
    for number, line in enumerate(lines, start=1):
        found = re.match(r'\s+name:\s*["\'](.*)["\']\s*$', line)
        name = found[1] if found else name
        if found := re.match(r"\s+(?:label_)?id:\s*(\d+)\s*$", line):
            if int(found[1]) in names:
                raise DataError(f"{path}:{number}: id {found[1]} is already {names[int(found[1])]}")
            names[int(found[1])] = name
    if not names:
        raise DataError(
            f"{path}: no class in this label map; expected blocks such as\n"
            'item {\n  name: "stand"\n  id: 12\n}'
        )
    return names


def label_map(names: Sequence[str]) -> str:
    """A label map, as `read_label_map` reads it; ids count from 1."""
    items = (f'item {{\n  name: "{name}"\n  id: {n}\n}}\n' for n, name in enumerate(names, 1))
    return "".join(items)


def map_names(path: str, num_classes: int) -> list[str]:
    """Names of columns 0 .. num_classes - 1 of scores by a label map; "" for a class not in it.

    [] if there is no such file: names are only shown.
    """
    if not os.path.isfile(path):
        return []
    names = read_label_map(path)
    return [names.get(c, "") for c in range(1, num_classes + 1)]


def csv_rows(path: str) -> Iterator[tuple[str, list[str]]]:
    """("file:line", columns) of every line that is not empty."""
    name = os.path.basename(path)
    with _open(path) as file:
        reader = csv.reader(file)
        for columns in reader:
            if columns:
                yield f"{name}:{reader.line_num}", [column.strip() for column in columns]


def read_time(text: str, whole: bool, where: str) -> float:
    """Seconds, as they are compared: an integer, or rounded to 6 decimals."""
    try:
        time = int(text) if whole else round(float(text), 6)
    except ValueError:
        time = math.nan
    if not 0 <= time < SECONDS:
        kind = "a whole number of seconds such as 0902" if whole else "a number of seconds"
        raise DataError(f"{where}: expected {kind} in column 2, found {text!r}")
    return time


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: expected a number, found {text!r}; columns are {COLUMNS}")
    return value


def _action(text: str, num_actions: int, where: str) -> int:
    if not text:
        return NO_ACTION
    try:
        action = int(np.int64(int(text)))  # as `box_rows` holds it
    except (ValueError, OverflowError):
        raise DataError(f"{where}: expected an action id in column 7, found {text!r}") from None
    if num_actions and not (action == NO_ACTION or 1 <= action <= num_actions):
        raise DataError(
            f"{where}: action id {action}, but ids are 1..{num_actions} (MODEL.NUM_CLASSES); set "
            f"MODEL.NUM_CLASSES to the largest id, or mend the line"
        )
    return action


@contextmanager
def _open(path: str) -> Iterator[TextIO]:
    try:
        with open_text(path, newline="") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


@dataclass(frozen=True)
class AvaPaths:
    """Where a split's files are; "" or an empty tuple: there is none."""

    frame_dir: str  # with a folder of frames, or a file, for each video
    frame_lists: tuple[str, ...]
    truth: tuple[str, ...]  # boxes with actions
    persons: tuple[str, ...]  # a detector's boxes
    evaluated: str  # the ground truth of the evaluation
    label_map: str
    excluded: str


def build_ava_paths(cfg: CfgNode, split: str) -> AvaPaths:
    """AVA's folders are under DATA.PATH_TO_DATA_DIR, its annotations in AVA.ANNOTATION_DIR."""
    ava, root = cfg.AVA, cfg.DATA.PATH_TO_DATA_DIR
    annotations = os.path.join(root, ava.ANNOTATION_DIR)
    lists = os.path.join(root, ava.FRAME_LIST_DIR)
    train = split == "train"

    def inside(folder: str, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(os.path.join(folder, name) for name in names if name)

    def one(name: str) -> str:
        return os.path.join(annotations, name) if name else ""

    return AvaPaths(
        frame_dir=os.path.join(root, ava.FRAME_DIR),
        frame_lists=inside(lists, ava.TRAIN_LISTS if train else ava.TEST_LISTS),
        truth=inside(annotations, ava.TRAIN_GT_BOX_LISTS if train else [ava.GROUNDTRUTH_FILE]),
        persons=inside(
            annotations, ava.TRAIN_PREDICT_BOX_LISTS if train else ava.TEST_PREDICT_BOX_LISTS
        ),
        evaluated=one(ava.GROUNDTRUTH_FILE),
        label_map=one(ava.LABEL_MAP_FILE),
        excluded=one(ava.EXCLUSION_FILE),
    )
