"""What is on disk: video files and frame folders under a root, and names of classes."""

import json
import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cmvl.data.frames import PICTURES
from cmvl.data.text import open_text
from cmvl.utils.errors import DataError
from cmvl.utils.files import write_text
from cmvl.utils.logging import logger

VIDEOS = tuple(
    ".mp4 .mkv .webm .avi .mov .m4v .mpg .mpeg .flv .wmv .ts .ogv .3gp .mts .m2ts .vob .asf".split()
)
CLASSES = "classes.json"  # {"name": index}, as PySlowFast has it
NAMES = "classes.txt"  # one name a line
SETTINGS = "made_with.json"


def walk_media(root: str) -> list[str]:
    """Every video file and every folder of pictures under `root`, relative to it, in order.

    Pictures beside videos are no frames. What is hidden, as macOS leaves beside every file on other
    disks, is not looked at, nor a folder that a link leads back to.
    """
    found: list[str] = []
    root = os.path.normpath(root)
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not _leads_back(os.path.join(folder, name), root)
        )
        files = sorted(name for name in files if not name.startswith("."))
        videos = [name for name in files if name.lower().endswith(VIDEOS)]
        pictures = any(name.lower().endswith(PICTURES) for name in files)
        if folder != root and pictures and not videos:
            folders.clear()  # nothing below a frame folder
            found.append(os.path.relpath(folder, root))
            continue
        found += [os.path.relpath(os.path.join(folder, name), root) for name in videos]
    return found


def _leads_back(folder: str, root: str) -> bool:
    """Whether it is a link to a folder that it lies in."""
    if not os.path.islink(folder):
        return False
    target, above = os.path.realpath(folder), folder
    while above != root:
        above = os.path.dirname(above)
        if os.path.realpath(above) == target:
            return True
    return False


def find_media(root: str) -> dict[str, str]:
    """What `walk_media` finds: name without suffix -> path.

    Of two with the same name the first in alphabetical order is taken.
    """
    media: dict[str, str] = {}
    for path in walk_media(root):
        name = os.path.basename(path)
        whole = os.path.isdir(os.path.join(root, path))
        media.setdefault(name if whole else os.path.splitext(name)[0], path)
    return media


def locate(names: Iterable[str], roots: Sequence[str]) -> list[str | None]:
    """For each name the folder of that name, or the video file, directly under one of `roots`.

    Paths are relative to the root; None for what is not there.
    """
    there: dict[str, str] = {}
    for root in reversed(roots):
        if os.path.isdir(root or "."):
            for entry in sorted(os.listdir(root or "."), reverse=True):
                stem, suffix = os.path.splitext(entry)
                there[stem if suffix.lower() in VIDEOS else entry] = entry
    return [there.get(name) for name in names]


def read_classes(folder: str) -> dict[str, int] | None:
    """Index by class name from `classes.json` in a data folder; None if there is no such file."""
    path = os.path.join(folder, CLASSES)
    return read_class_numbers(path) if os.path.isfile(path) else None


def read_class_numbers(path: str) -> dict[str, int]:
    """Index by class name. Raises DataError unless every index from 0 is there once."""
    try:
        with open_text(path) as file:
            classes = {str(name): int(index) for name, index in json.load(file).items()}
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f'{path}: expected {{"class name": index, ...}} ({error})') from error
    check_numbering(classes, path)
    return classes


def check_numbering(classes: dict[str, int], path: str) -> None:
    """Raises DataError unless every index from 0 is there once."""
    if sorted(classes.values()) != list(range(len(classes))):
        raise DataError(f"{path}: expected every index 0..{len(classes) - 1} once")


def read_names(folder: str, num_classes: int) -> list[str]:
    """Names of class 0, 1 ... from a data folder's `classes.json` or `classes.txt`; [] if unknown.

    Names serve to be shown, so others than `num_classes` are left out with a warning.
    """
    files = [os.path.join(folder, name) for name in (CLASSES, NAMES)]
    there = next(filter(os.path.isfile, files), "")
    return fitting_names(read_class_file(there), num_classes, there) if there else []


def read_class_file(path: str) -> list[str]:
    """Names of class 0, 1 ...: a .json of {"name": index}, or one name a line. Raises DataError."""
    if path.lower().endswith(".json"):
        classes = read_class_numbers(path)
        return sorted(classes, key=classes.get)
    try:
        with open_text(path) as file:
            names = [line.strip() for line in file if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: expected class names, one a line ({error})") from error
    return names


def fitting_names(names: list[str], num_classes: int, source: str) -> list[str]:
    """`names`, or none with a warning if they are not `num_classes`."""
    if names and len(names) != num_classes:
        _warn_of_names(source, len(names), num_classes)
        return []
    return names


@cache
def _warn_of_names(source: str, count: int, num_classes: int) -> None:
    """Once for the lists of training, validation and test."""
    logger.warning(
        "%s: names of %d classes, but MODEL.NUM_CLASSES is %d: classes are called by number, "
        "unless it is set to %d",
        source,
        count,
        num_classes,
        count,
    )


def note_settings(folder: str, settings: dict[str, Any]) -> None:
    """Keep in a folder how its files are made, for what is there is not made again.

    Raises DataError where others were made otherwise.
    """
    path = Path(folder, SETTINGS)
    if not path.exists():
        write_text(path, json.dumps(settings) + "\n")
        return
    try:
        before = json.loads(path.read_text())
        changed = [k for k, v in settings.items() if before[k] != v]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected the settings of this folder's files") from error
    if changed:
        told = ", ".join(f"{k} {before[k]} (now {settings[k]})" for k in changed)
        raise DataError(
            f"{folder}: its files were made with {told}: take that again, or another folder"
        )


def number_classes(names: Iterable[str]) -> dict[str, int]:
    """Index by name, in alphabetical order."""
    return {name: index for index, name in enumerate(sorted(set(names)))}
