"""The official annotation files of Something-Something, V1 (csv) and V2 (JSON)."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cmvl.data.disk import read_class_numbers
from cmvl.data.text import open_text, read_json_list
from cmvl.utils.errors import DataError

Row = tuple[int, str, int]  # line (V2: number of the video in the file), id, class


@dataclass(frozen=True)
class Edition:
    """The names of a version's files, of which the first that is there is taken, and how to read
    them.

    `read_labels(path)`: index by template. `read_annotations(path, index by template)`.
    """

    lists: Mapping[str, Sequence[str]]  # by split
    labels: Sequence[str]
    is_official: Callable[[str], bool]
    read_labels: Callable[[str], dict[str, int]]
    read_annotations: Callable[[str, dict[str, int]], list[Row]]


def first_there(folder: str, names: Sequence[str]) -> str:
    """The path of the first of `names` that is in `folder`, or of the first if none is."""
    paths = [os.path.join(folder, name) for name in names]
    return next(filter(os.path.isfile, paths), paths[0])


def is_csv(path: str) -> bool:
    """Does the first line read `id;template`, or `id` as in V1's official test list?"""
    with open_text(path) as file:
        return re.fullmatch(r"\d+(;.*[A-Za-z].*)?", file.readline().strip()) is not None


def read_csv_labels(path: str) -> dict[str, int]:
    """V1's index by template: its line in the official list of labels. Raises DataError."""
    try:
        with open_text(path) as file:
            names = [line.strip().strip('"') for line in file if line.strip()]
    except OSError as error:
        raise DataError(
            f"{path}: expected the official list of templates, one a line in the order of their "
            f"indices ({error.strerror})"
        ) from error
    return {name: index for index, name in enumerate(names)}


def read_csv(path: str, classes: dict[str, int]) -> list[Row]:
    """V1's lines `id;template`. Raises DataError."""
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
            rows.append((number, video, _class_of(template, classes, number, path)))
    return rows


def read_json(path: str, classes: dict[str, int]) -> list[Row]:
    """V2's `[{"id": "78687", "template": "Holding [something] next to [something]", ...}, ...]`.

    Classes are called by their template without the brackets. Raises DataError, counting videos
    where other files have lines.
    """
    rows, name = [], os.path.basename(path)
    for number, video in enumerate(read_json_list(path), start=1):
        if not isinstance(video, dict) or "id" not in video or "template" not in video:
            raise DataError(
                f"{name}:{number}: expected a video's id and template, got {video!r} in {path}; "
                "the official test list has no labels, use the validation list"
            )
        template = str(video["template"]).replace("[", "").replace("]", "")
        rows.append((number, str(video["id"]), _class_of(template, classes, number, path)))
    return rows


def _class_of(template: str, classes: dict[str, int], number: int, path: str) -> int:
    if template not in classes:
        where = f"{os.path.basename(path)}:{number}"
        raise DataError(f"{where}: {template!r} in {path} is none of the templates")
    return classes[template]


def _names(train: Sequence[str], val: Sequence[str]) -> dict[str, Sequence[str]]:
    """By split; the official test videos have no labels."""
    return {"train": train, "val": val, "test": ("val.csv", *val)}


V1, V2 = "something-something-v1-", "something-something-v2-"
EDITIONS = {
    "ssv1": Edition(
        _names((f"{V1}train.csv",), (f"{V1}validation.csv",)),
        (f"{V1}labels.csv",),
        is_csv,
        read_csv_labels,
        read_csv,
    ),
    "ssv2": Edition(
        # Earlier packages have the long names.
        _names((f"{V2}train.json", "train.json"), (f"{V2}validation.json", "validation.json")),
        (f"{V2}labels.json", "labels.json"),
        lambda path: path.endswith(".json"),
        read_class_numbers,
        read_json,
    ),
}
