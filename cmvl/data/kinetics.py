"""Kinetics 400, 600 and 700, and every other set listed in PySlowFast's way."""

import csv
import os
from dataclasses import dataclass

from fvcore.common.config import CfgNode

from cmvl.data.build import DATASETS, build_options
from cmvl.data.dataset import VideoDataset
from cmvl.data.disk import CLASSES, find_media, number_classes, read_classes, read_names
from cmvl.data.lists import ONE, SEVERAL, find_list, list_roots, read_list
from cmvl.data.records import Records
from cmvl.data.text import open_text
from cmvl.utils.errors import DataError

OFFICIAL_NAMES = {"val": ("validate.csv",)}


@DATASETS.register()
class Kinetics(VideoDataset):
    """One label per video, or with TASK multi_label several; lists in DATA.PATH_TO_DATA_DIR.

    A list is PySlowFast's (`path label`) or the official csv. A relative path is looked for under
    DATA.PATH_PREFIX; if that is empty, as it stands and then under DATA.PATH_TO_DATA_DIR.
    """

    tasks = ("classification", "multi_label")

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str) -> "Kinetics":
        """Raises DataError for a list that cannot be used, naming its line."""
        folder, prefix = cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.PATH_PREFIX
        path = find_list(folder, split, OFFICIAL_NAMES.get(split, ()))
        classes, form = cfg.MODEL.NUM_CLASSES, SEVERAL if cfg.TASK == "multi_label" else ONE
        if is_official(path):
            if form is SEVERAL:
                raise DataError(
                    f"{path}: this official csv has one label a video: set TASK classification, or "
                    "list the videos with their labels, lines 'path 3,17'"
                )
            records = read_official(path, prefix or folder, classes)
        else:
            separator, roots = cfg.DATA.PATH_LABEL_SEPARATOR, list_roots(folder, prefix)
            records = read_list(path, separator, classes, roots, form)
            records.class_names = read_names(folder, classes)
        return cls(records, split, **build_options(cfg, split))


@dataclass(frozen=True)
class Annotation:
    """A row of an official csv: its line, the segment's file name without suffix, its class."""

    line: int
    name: str
    label: str | None


def is_official(path: str) -> bool:
    """Is it a csv of the Kinetics authors?"""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        return "youtube_id" in file.readline()


def read_annotations(path: str) -> list[Annotation]:
    """The rows of an official csv: label (not in test files), youtube_id, time_start, time_end.

    A segment is called `id_000010_000020`. Raises DataError, naming the line.
    """
    rows = []
    with open_text(path, newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        for row in reader:
            try:
                start, end = (int(float(row[name])) for name in ("time_start", "time_end"))
                name = f"{row['youtube_id']}_{start:06d}_{end:06d}"
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise DataError(
                    f"{os.path.basename(path)}:{reader.line_num}: expected columns "
                    "label,youtube_id,time_start,time_end with times in seconds, got "
                    f"{','.join(str(value) for value in row.values())!r} in {path}"
                ) from error
            rows.append(Annotation(reader.line_num, name, row.get("label")))
    return rows


def read_official(path: str, root: str, num_classes: int) -> Records:
    """The rows of an official csv with the files of that name anywhere under `root`.

    Classes are numbered as in the csv folder's classes.json, or else alphabetically, for which
    the csv must have all of them. A row without file is an unreadable video. Raises DataError.
    """
    rows = read_annotations(path)
    named = {row.label for row in rows if row.label}
    if not named:
        raise DataError(
            f"{path}: this official csv has no labels, so it cannot be tested on; put val.csv in "
            "its place to test on the validation videos"
        )
    classes = read_classes(os.path.dirname(path)) or number_classes(named)
    if len(classes) != num_classes or named - classes.keys():
        raise DataError(
            f"{path}: {len(named)} classes, {len(classes)} with a number, MODEL.NUM_CLASSES "
            f"{num_classes}. A csv with other than all classes needs {CLASSES} beside it; "
            "`python tools/prepare_data.py kinetics` writes it and the lists"
        )
    media = find_media(root)
    paths = [media.get(row.name, f"{row.label}/{row.name}.mp4") for row in rows]
    labels = [classes[row.label] for row in rows]
    records = Records(path, paths, labels, [row.line for row in rows], (root,))
    records.class_names = sorted(classes, key=classes.get)
    return records
