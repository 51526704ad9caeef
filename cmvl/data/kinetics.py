"""Kinetics and every other set listed in PySlowFast's way: {train,val,test}.csv of `path label`."""

import os
import re
from collections.abc import Iterator

import numpy as np
from fvcore.common.config import CfgNode

from cmvl.data.build import DATASETS, build_options
from cmvl.data.dataset import VideoDataset
from cmvl.data.records import Records
from cmvl.utils.errors import DataError

DEMO = "to try cmvl without any data, `make demo` writes a small set of its own"


@DATASETS.register()
class Kinetics(VideoDataset):
    """One label per video; the lists are in DATA.PATH_TO_DATA_DIR.

    A relative path of a list is looked for under DATA.PATH_PREFIX; if that is empty, as it stands
    and then under DATA.PATH_TO_DATA_DIR.
    """

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str) -> "Kinetics":
        """Raises DataError for a list that cannot be used, naming its line."""
        folder, prefix = cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.PATH_PREFIX
        records = read_list(
            find_list(folder, split),
            cfg.DATA.PATH_LABEL_SEPARATOR,
            cfg.MODEL.NUM_CLASSES,
            roots=(prefix,) if prefix else ("", folder),
        )
        return cls(records, split, **build_options(cfg, split))


def find_list(folder: str, split: str) -> str:
    """The path of `split`.csv. Raises DataError that says what is there instead."""
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
    path = os.path.join(folder, f"{split}.csv")
    if os.path.isfile(path):
        return path
    there = sorted(name for name in os.listdir(folder) if name.endswith(".csv"))
    message = f"{path}: no such list; the folder has {', '.join(there) or 'no csv file at all'}."
    if split == "test" and "val.csv" in there:
        message += (
            " To test on the validation videos, copy or link val.csv to test.csv: "
            f"ln -s val.csv {path}"
        )
    raise DataError(message)


def read_list(
    path: str, separator: str, num_classes: int, roots: tuple[str, ...] = ("",)
) -> Records:
    """Read lines `path<separator>label`, split at the last separator; empty lines are left out.

    Raises DataError for a line without label, a label that is no integer in 0..num_classes - 1,
    the official Kinetics csv, or an empty list.
    """
    rows = list(_rows(path, separator))
    if not rows:
        raise DataError(f"{path}: the list is empty; expected lines 'path{separator}label'")
    lines, videos, labels = zip(*rows, strict=True)
    _check_labels(path, np.array(labels), lines, num_classes)
    return Records(path, videos, labels, lines, roots)


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
                    f"'path{separator}label' of the videos you have, labels numbered from 0 in "
                    "the alphabetical order of the class names; GETTING_STARTED.md says how"
                )
            video, _, label = (part.strip() for part in text.rpartition(separator))
            if not video:
                raise DataError(
                    f"{name}:{number}: expected 'path{separator}label', got {text!r} in {path}. "
                    f"If the list is separated otherwise, set DATA.PATH_LABEL_SEPARATOR (it is "
                    f"{separator!r})."
                )
            if not re.fullmatch("-?[0-9]+", label):
                raise DataError(
                    f"{name}:{number}: expected an integer label after the last {separator!r}, "
                    f"got {label!r} in {path}; number the classes 0, 1, 2, ..."
                )
            yield number, video, int(label)


def _check_labels(path: str, labels: np.ndarray, lines: tuple[int, ...], num_classes: int) -> None:
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
