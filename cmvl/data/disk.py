"""What is on disk: video files and frame folders under a root, and names of classes."""

import json
import os
from collections.abc import Iterable, Sequence

from cmvl.data.frames import PICTURES
from cmvl.utils.errors import DataError
from cmvl.utils.logging import logger

VIDEOS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".ts")
CLASSES = "classes.json"  # {"name": index}, as PySlowFast has it
NAMES = "classes.txt"  # one name a line


def find_media(root: str) -> dict[str, str]:
    """Every video file and every folder of pictures under `root`: its name without suffix -> path.

    Paths are relative to `root`. Of two with the same name the first in alphabetical order is
    taken.
    """
    media: dict[str, str] = {}
    for folder, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        if folder != root and any(name.lower().endswith(PICTURES) for name in files):
            folders.clear()  # nothing below a frame folder
            media.setdefault(os.path.basename(folder), os.path.relpath(folder, root))
            continue
        for name in sorted(files):
            if name.lower().endswith(VIDEOS):
                path = os.path.relpath(os.path.join(folder, name), root)
                media.setdefault(os.path.splitext(name)[0], path)
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
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            classes = {str(name): int(index) for name, index in json.load(file).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f'{path}: expected {{"class name": index, ...}} ({error})') from error
    if sorted(classes.values()) != list(range(len(classes))):
        raise DataError(f"{path}: expected every index 0..{len(classes) - 1} once")
    return classes


def read_names(folder: str, num_classes: int) -> list[str]:
    """Names of class 0, 1 ... from a data folder's `classes.json` or `classes.txt`; [] if unknown.

    Names serve to be shown, so others than `num_classes` are left out with a warning.
    """
    classes, path = read_classes(folder), os.path.join(folder, NAMES)
    names = sorted(classes, key=classes.get) if classes else []
    if not names and os.path.isfile(path):
        with open(path, encoding="utf-8-sig") as file:
            names = [line.strip() for line in file if line.strip()]
    return fitting_names(names, num_classes, folder)


def fitting_names(names: list[str], num_classes: int, source: str) -> list[str]:
    """`names`, or none with a warning if they are not `num_classes`."""
    if names and len(names) != num_classes:
        logger.warning(
            "%s: names of %d classes, but MODEL.NUM_CLASSES is %d: classes are called by number",
            source,
            len(names),
            num_classes,
        )
        return []
    return names


def number_classes(names: Iterable[str]) -> dict[str, int]:
    """Index by name, in alphabetical order."""
    return {name: index for index, name in enumerate(sorted(set(names)))}
