"""What each data set's official annotation says, as entries for `prepare`."""

import csv
import os
from collections.abc import Sequence

import numpy as np

from cmvl.data import charades, kinetics
from cmvl.data.disk import number_classes, walk_media
from cmvl.data.folder import class_folders
from cmvl.data.prepare import Entry, Splits, number_labels
from cmvl.data.something_files import Edition, first_there
from cmvl.data.text import official
from cmvl.utils.errors import DataError


def kinetics_entries(train: str, val: str, test: str = "") -> tuple[Splits, dict[str, int]]:
    """Official csvs -> entries, and classes in the alphabetical order of the training csv's.

    Without a labelled `test` the validation videos are the test's too.
    """
    files = {"train": train, "val": val} | ({"test": test} if test else {})
    return number_labels({split: _kinetics_split(path) for split, path in files.items()})


def _kinetics_split(path: str) -> list[Entry]:
    """Labelled by the names of classes."""
    name = os.path.basename(path)
    entries = []
    for row in kinetics.read_annotations(path):
        if not row.label:
            raise DataError(
                f"{name}:{row.line}: no label in {path}; leave the official test csv out, then "
                "the validation videos are tested on"
            )
        entries.append(Entry(f"{name}:{row.line}", row.name, row.label))
    return entries


def charades_entries(folder: str) -> tuple[Splits, dict[str, int]]:
    """Charades_v1_{train,test}.csv and _classes.txt of a folder. A label is `length,actions`."""
    splits = {}
    for split, name in (("train", "Charades_v1_train.csv"), ("val", "Charades_v1_test.csv")):
        path = official(os.path.join(folder, name))
        splits[split] = [
            Entry(f"{name}:{line}", row["id"], f"{row['length']},{row['actions']}")
            for line, row in charades.read_rows(path)
        ]
    classes = charades.read_official_classes(official(os.path.join(folder, charades.NAMES)))
    return splits | {"test": splits["val"]}, classes


def write_charades(path: str, entries: Sequence[Entry]) -> None:
    """id, path, frames, length, actions; frames is empty for a video file."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "frames", "length", "actions"])
        for e in entries:
            frames = "" if e.frames is None else e.frames
            writer.writerow([e.name, e.path, frames, *e.label.split(",", 1)])


def something_entries(edition: Edition, folder: str) -> tuple[Splits, dict[str, int]]:
    """The official lists of a folder."""
    classes = edition.read_labels(official(first_there(folder, edition.labels)))
    splits = {}
    for split in ("train", "val"):
        path = official(first_there(folder, edition.lists[split]))
        where = os.path.basename(path)
        rows = edition.read_annotations(path, classes)
        splits[split] = [Entry(f"{where}:{n}", video, str(label)) for n, video, label in rows]
    return splits | {"test": splits["val"]}, classes


def folder_entries(root: str, share: float, seed: int) -> tuple[Splits, dict[str, int]]:
    """Class folders under `root`, or under its train, val and test.

    Without splits on disk, `share` of every class is drawn for training, at least one video, and
    the rest validates and tests; the draw depends on `seed` alone.
    """
    there = [s for s in ("train", "val", "test") if os.path.isdir(os.path.join(root, s))]
    if there:
        if missing := [s for s in ("train", "val") if s not in there]:
            raise DataError(f"{root}: has {', '.join(there)}, but no folder {missing[0]}")
        classes = number_classes(class_folders(os.path.join(root, "train")))
        splits = {s: _folder_split(root, s, classes) for s in there}
        return {"test": splits["val"], **splits}, classes
    if not 0 < share <= 1:
        raise DataError(f"--split {share}: expected the share of videos to train on, as 0.8")
    classes = number_classes(class_folders(root))
    rng, splits = np.random.default_rng(seed), {"train": [], "val": []}
    for name in sorted(classes):
        entries = _class_entries(root, name, classes)
        order = rng.permutation(len(entries)).tolist()
        train = max(1, round(share * len(entries)))
        for place, i in enumerate(order):
            splits["train" if place < train else "val"].append(entries[i])
    return splits | {"test": splits["val"]}, classes


def _folder_split(root: str, split: str, classes: dict[str, int]) -> list[Entry]:
    entries = []
    for name in class_folders(os.path.join(root, split)):
        if name not in classes:
            raise DataError(f"{root}/{split}/{name}: there is no such class in train")
        entries += _class_entries(root, os.path.join(split, name), classes)
    return entries


def _class_entries(root: str, folder: str, classes: dict[str, int]) -> list[Entry]:
    label = str(classes[os.path.basename(folder)])
    media = walk_media(os.path.join(root, folder))
    return [Entry(folder, os.path.join(folder, path), label) for path in sorted(media)]
