"""Something-Something-V1: frame folders, one template each. Left and right matter: no flip."""

import os
import re

from fvcore.common.config import CfgNode

from cmvl.data.build import DATASETS, build_options
from cmvl.data.dataset import VideoDataset
from cmvl.data.disk import locate, read_names
from cmvl.data.lists import find_list, list_roots, read_list
from cmvl.data.records import Records
from cmvl.data.text import open_text
from cmvl.utils.errors import DataError

PREFIX = "something-something-v1-"
LABELS = f"{PREFIX}labels.csv"
OFFICIAL_NAMES = {
    "train": (f"{PREFIX}train.csv",),
    "val": (f"{PREFIX}validation.csv",),
    "test": ("val.csv", f"{PREFIX}validation.csv"),  # the official test videos have no labels
}


@DATASETS.register()
class SSv1(VideoDataset):
    """One label per video, by the order of the official list of labels.

    The list of a split is the official csv, `id;template`, or one of lines `path frames label`, as
    `tools/prepare_data.py ssv1` writes it. Videos are looked for as in `Kinetics`.
    """

    clip_rule = "strided"

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str) -> "SSv1":
        """Raises DataError for a list that cannot be used, naming its line."""
        if split == "train" and cfg.DATA.RANDOM_FLIP:
            raise DataError(
                "Something-Something has classes such as 'Pulling something from left to right', "
                "which a mirror turns into others: set DATA.RANDOM_FLIP False"
            )
        folder, prefix = cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.PATH_PREFIX
        path, classes = find_list(folder, split, OFFICIAL_NAMES[split]), cfg.MODEL.NUM_CLASSES
        roots = list_roots(folder, prefix)
        if is_official(path):
            records = read_official(path, os.path.join(folder, LABELS), classes, roots)
        else:
            records = read_list(path, cfg.DATA.PATH_LABEL_SEPARATOR, classes, roots)
            records.class_names = read_names(folder, classes)
        return cls(records, split, **build_options(cfg, split, cls.clip_rule))


def is_official(path: str) -> bool:
    """Does the first line read `id;template`, or `id` as in the official test list?"""
    with open_text(path) as file:
        return re.fullmatch(r"\d+(;.*[A-Za-z].*)?", file.readline().strip()) is not None


def read_labels(path: str) -> dict[str, int]:
    """Index by template: its line in the official list of labels. Raises DataError."""
    try:
        with open_text(path) as file:
            names = [line.strip().strip('"') for line in file if line.strip()]
    except OSError as error:
        raise DataError(
            f"{path}: expected the official list of templates, one a line in the order of their "
            f"indices ({error.strerror})"
        ) from error
    return {name: index for index, name in enumerate(names)}


def read_annotations(path: str, classes: dict[str, int]) -> list[tuple[int, str, int]]:
    """(line number, id, class) of every line `id;template`. Raises DataError."""
    rows, name = [], os.path.basename(path)
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            video, separator, template = line.strip().partition(";")
            template = template.strip().strip('"')
            if not video:
                continue
            if not separator:
                raise DataError(
                    f"{name}:{number}: expected 'id;template', got {line.strip()!r} in {path}; the "
                    "official test list has no labels, use the validation list"
                )
            if template not in classes:
                raise DataError(f"{name}:{number}: {template!r} in {path} is none of the templates")
            rows.append((number, video, classes[template]))
    return rows


def read_official(path: str, labels_file: str, num_classes: int, roots: tuple[str, ...]) -> Records:
    """The videos of an official list, frame folders or files called by their id."""
    classes = read_labels(labels_file)
    if len(classes) != num_classes:
        raise DataError(
            f"{labels_file}: {len(classes)} templates, MODEL.NUM_CLASSES is {num_classes}; they "
            "must agree"
        )
    rows = read_annotations(path, classes)
    lines, ids, labels = zip(*rows, strict=True)
    paths = [place or name for place, name in zip(locate(ids, roots), ids, strict=True)]
    records = Records(path, paths, labels, lines, roots)
    records.class_names = list(classes)
    return records
