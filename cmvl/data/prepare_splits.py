"""UCF101, HMDB51 and Diving48: official files of splits, as entries for `prepare`."""

import glob
import os
from collections.abc import Iterator

from cmvl.data.disk import check_numbering, number_classes
from cmvl.data.prepare import Entry, Splits
from cmvl.data.text import official, open_text, read_json_list
from cmvl.utils.errors import DataError


def ucf101_entries(folder: str, fold: int) -> tuple[Splits, dict[str, int]]:
    """classInd.txt (`1 ApplyEyeMakeup`), trainlist01.txt and testlist01.txt of a folder.

    Their lines are `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`, in tests without the number.
    The test videos validate too. Raises DataError.
    """
    names = os.path.join(folder, "classInd.txt")
    classes = {}
    for where, text in _lines(names):
        words = text.split()
        if len(words) != 2 or not words[0].isdigit():
            raise DataError(f"{where}: expected '1 ApplyEyeMakeup', got {text!r} in {names}")
        classes[words[1]] = int(words[0]) - 1
    check_numbering(classes, names)
    splits = {}
    for split, kind in (("train", "train"), ("val", "test")):
        entries = splits[split] = []
        for where, text in _lines(os.path.join(folder, f"{kind}list{fold:02d}.txt")):
            path, *number = text.split()
            name, _, file = path.partition("/")
            if name not in classes or number not in ([], [str(classes[name] + 1)]):
                raise DataError(
                    f"{where}: expected 'CLASS/VIDEO.avi NUMBER', class and number as in {names}, "
                    f"got {text!r}"
                )
            entries.append(Entry(where, os.path.splitext(file)[0], str(classes[name])))
    return splits | {"test": splits["val"]}, classes


def hmdb51_entries(folder: str, fold: int) -> tuple[Splits, dict[str, int]]:
    """A file a class, brush_hair_test_split1.txt, of lines `VIDEO.avi 1`: 1 trains, 2 tests, 0 is
    left out.

    Classes are numbered in alphabetical order. The test videos validate too. Raises DataError.
    """
    ending = f"_test_split{fold}.txt"
    files = sorted(glob.glob(os.path.join(glob.escape(folder), f"*{ending}")))
    if not files:
        raise DataError(f"{folder}: expected brush_hair{ending} and its like, found none")
    classes = number_classes(os.path.basename(path).removesuffix(ending) for path in files)
    splits = {"train": [], "val": [], "left out": []}
    roles = {"1": "train", "2": "val", "0": "left out"}
    for path in files:
        label = str(classes[os.path.basename(path).removesuffix(ending)])
        for where, text in _lines(path):
            file, _, role = text.rpartition(" ")
            if role not in roles or not file:
                raise DataError(f"{where}: expected 'VIDEO.avi 1' (or 2, or 0), got {text!r}")
            splits[roles[role]].append(Entry(where, os.path.splitext(file.strip())[0], label))
    return {"train": splits["train"], "val": splits["val"], "test": splits["val"]}, classes


def diving48_entries(folder: str) -> tuple[Splits, dict[str, int]]:
    """Diving48_V2_train.json, Diving48_V2_test.json and Diving48_vocab.json of a folder.

    A video is `{"vid_name": "ZpZcVzZpTMw_00009", "label": 35, ...}`; line k of the vocabulary has
    the parts of class k's name. The test videos validate too. Raises DataError.
    """
    vocabulary = os.path.join(folder, "Diving48_vocab.json")
    names = [" ".join(map(str, parts)) for parts in read_json_list(vocabulary)]
    classes = {name: k for k, name in enumerate(names)}
    check_numbering(classes, vocabulary)
    splits = {}
    for split, kind in (("train", "train"), ("val", "test")):
        file = f"Diving48_V2_{kind}.json"
        splits[split] = []
        for number, video in enumerate(read_json_list(os.path.join(folder, file)), 1):
            where = f"{file}:{number}"
            known = isinstance(video, dict) and video.get("label") in range(len(names))
            if not known or "vid_name" not in video:
                raise DataError(
                    f"{where}: expected a vid_name and a label of 0..{len(names) - 1}, got "
                    f"{video!r} in {folder}"
                )
            splits[split].append(Entry(where, str(video["vid_name"]), str(video["label"])))
    return splits | {"test": splits["val"]}, classes


def _lines(path: str) -> Iterator[tuple[str, str]]:
    """("file:line", text) of every line that is not empty. Raises DataError without a file."""
    with open_text(official(path)) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{os.path.basename(path)}:{number}", line.strip()
