"""Charades: several actions a video, each with its time; frame folders or encoded video."""

import csv
import math
import os
import re
from collections.abc import Iterator
from itertools import groupby

from fvcore.common.config import CfgNode

from cmvl.data.build import DATASETS, build_options
from cmvl.data.dataset import VideoDataset
from cmvl.data.disk import check_numbering, fitting_names, locate, read_names
from cmvl.data.lists import FRAME_LIST, check_labels, find_list, list_roots
from cmvl.data.records import MultiLabelRecords, Row
from cmvl.data.text import open_text
from cmvl.utils.errors import DataError

OFFICIAL_NAMES = {
    "train": ("Charades_v1_train.csv",),
    "val": ("Charades_v1_test.csv",),
    "test": ("val.csv", "Charades_v1_test.csv"),  # what the world calls Charades' test
}
NUMBER = r"-?(?:\d+\.?\d*|\.\d+)"
NAMES = "Charades_v1_classes.txt"


@DATASETS.register()
class Charades(VideoDataset):
    """Multi-hot labels: a clip's actions are those that occur in it, a video's all of them.

    The list of a split is the official csv, also as `tools/prepare_data.py charades` writes it, or
    PySlowFast's frame list. Videos or frame folders are looked for as in `Kinetics`.
    """

    clip_rule = "strided"
    tasks = ("multi_label",)

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str) -> "Charades":
        """Raises DataError for a list that cannot be used, naming its line."""
        folder, prefix = cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.PATH_PREFIX
        path = find_list(folder, split, OFFICIAL_NAMES[split])
        classes = cfg.MODEL.NUM_CLASSES
        records = read_charades(path, classes, list_roots(folder, prefix))
        records.class_names = read_names(folder, classes) or read_official_names(folder, classes)
        return cls(records, split, **build_options(cfg, split, cls.clip_rule))


def read_official_names(folder: str, num_classes: int) -> list[str]:
    """Of class 0, 1 ..., from Charades_v1_classes.txt; [] if it is not there. Raises DataError."""
    path = os.path.join(folder, NAMES)
    if not os.path.isfile(path):
        return []
    classes = read_official_classes(path)
    return fitting_names(sorted(classes, key=classes.get), num_classes, path)


def read_official_classes(path: str) -> dict[str, int]:
    """Index by name, from lines `c000 Holding some clothes`. Raises DataError."""
    classes = {}
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if match := re.fullmatch(r"c(\d+) (.+)", line.strip()):
                classes[match[2]] = int(match[1])
            elif line.strip():
                raise DataError(
                    f"{path}:{number}: expected 'c000 Holding some clothes', got {line.strip()!r}"
                )
    check_numbering(classes, path)
    return classes


def read_charades(path: str, num_classes: int, roots: tuple[str, ...]) -> MultiLabelRecords:
    """Either kind of list. Raises DataError."""
    with open_text(path) as file:
        header = file.readline().strip()
    frames = header.split() == FRAME_LIST.split()
    return (read_frame_list if frames else read_official)(path, num_classes, roots)


def read_rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of an official csv. Raises DataError."""
    with open_text(path, newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if not {"id", "actions", "length"} <= {*columns}:
            raise DataError(
                f"{path}: expected the columns of Charades_v1_train.csv (id, actions and length "
                f"among them) or PySlowFast's {FRAME_LIST!r}, got {','.join(columns)!r}"
            )
        start = 2
        for row in reader:
            yield start, row
            start = reader.line_num + 1  # a quoted text may go on over several lines


def read_official(path: str, num_classes: int, roots: tuple[str, ...]) -> MultiLabelRecords:
    """id, actions (`c092 11.90 21.20;c147 0.00 12.60`, in seconds), length in seconds.

    The columns `path` and `frames` of prepared lists say where the video is and how many pictures
    it has; else it is the folder or the file called by its id.
    """
    rows = list(read_rows(path))
    if not rows:
        raise DataError(f"{path}: the list is empty")
    lines = [line for line, _ in rows]
    actions = [parse_actions(row["actions"], f"{os.path.basename(path)}:{n}") for n, row in rows]
    check_labels(path, [[row[0] for row in video] for video in actions], lines, num_classes)
    lengths = [_length(row["length"], f"{os.path.basename(path)}:{n}") for n, row in rows]
    ids = [row["id"] for _, row in rows]
    if rows[0][1].get("path"):
        paths = [row["path"] for _, row in rows]
    else:
        found = locate(ids, roots)
        paths = [place or name for place, name in zip(found, ids, strict=True)]
    frames = None
    if all((row.get("frames") or "").isdigit() for _, row in rows):
        frames = [int(row["frames"]) for _, row in rows]
    return MultiLabelRecords(path, paths, actions, lines, num_classes, roots, lengths, frames)


def parse_actions(text: str, where: str) -> list[Row]:
    """`c092 11.90 21.20;c147 0.00 12.60` -> [(92, 11.9, 21.2), (147, 0.0, 12.6)]."""
    rows = []
    for action in filter(None, (text or "").split(";")):
        match = re.fullmatch(rf"\s*c(\d+) ({NUMBER}) ({NUMBER})\s*", action)
        if not match:
            raise DataError(f"{where}: expected actions like 'c092 11.90 21.20', got {action!r}")
        rows.append((int(match[1]), float(match[2]), float(match[3])))
    return rows


def read_frame_list(path: str, num_classes: int, roots: tuple[str, ...]) -> MultiLabelRecords:
    """PySlowFast's list of every frame with its labels, a double-quoted comma list.

    A video must be the whole of one folder: the list and the folder are held against each other
    when it is read.
    """
    paths, actions, lines, counts = [], [], [], []
    with open_text(path) as file:
        rows = ((n, line.rstrip("\n").split(" ")) for n, line in enumerate(file, start=1))
        for _, video in groupby(_five(path, rows), key=lambda row: row[1][0]):
            frames = [(n, fields[3], fields[4]) for n, fields in video]
            paths.append(os.path.dirname(frames[0][1]))
            lines.append(frames[0][0])
            counts.append(len(frames))
            actions.append(_runs(path, frames))
    if not paths:
        raise DataError(f"{path}: the list has a header and no frames")
    check_labels(path, [[row[0] for row in video] for video in actions], lines, num_classes)
    return MultiLabelRecords(path, paths, actions, lines, num_classes, roots, None, counts)


def _five(path: str, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    next(rows)  # the header
    for n, fields in rows:
        if len(fields) == 5:
            yield n, fields
        elif fields != [""]:
            raise DataError(
                f"{os.path.basename(path)}:{n}: expected 5 fields {FRAME_LIST!r}, got "
                f"{len(fields)}: {' '.join(fields)!r} in {path}. A path must not have spaces."
            )


def _runs(path: str, frames: list[tuple[int, str, str]]) -> list[Row]:
    """(class, first frame, last frame) of every run of frames with that class."""
    rows: list[Row] = []
    since: dict[int, int] = {}
    before, current = None, set()
    for k, (n, _, text) in enumerate(frames):
        if text == before:
            continue
        before = text
        try:
            current = {int(label) for label in text.strip('"').split(",") if label}
        except ValueError as error:
            raise DataError(
                f'{os.path.basename(path)}:{n}: expected labels like "3,92", got {text} in {path}'
            ) from error
        rows += [(c, since.pop(c), k - 1) for c in sorted(since.keys() - current)]
        since |= {c: k for c in current - since.keys()}
    return rows + [(c, first, len(frames) - 1) for c, first in sorted(since.items())]


def _length(text: str, where: str) -> float:
    try:
        length = float(text)
    except (TypeError, ValueError):
        length = 0.0
    if not 0 < length < math.inf:
        raise DataError(f"{where}: expected the video's length in seconds, got {text!r}")
    return length
