"""Boxes drawn in CVAT as a data set in AVA's format: one key frame a second, a file of boxes for
training and for tests, and a label map."""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from cmvl.data.ava_files import label_map
from cmvl.data.cvat_files import Box, Task, find_exports, read_cvat
from cmvl.data.disk import locate
from cmvl.data.frames import open_source
from cmvl.utils.errors import DataError
from cmvl.utils.files import whole, write_text

ANNOTATIONS, LABELS = "annotations", "actions.pbtxt"
SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "val"}  # CVAT's subsets
NOTHING = ("", "__undefined__", "false")  # values of attributes that say that there is none


@dataclass(frozen=True)
class Row:
    """A box of a key frame: in 0..1 of the picture, the actions in it, the number of its track."""

    video: str
    second: int
    corners: tuple[float, ...]
    actions: tuple[str, ...]
    person: int


def prepare_cvat(
    exports: Sequence[str],
    videos: str,
    out: str,
    attributes: Sequence[str] = (),
    share: float = 0.8,
    seed: int = 0,
    fps: float = 30.0,
) -> str:
    """Write OUT/annotations from CVAT's exports and the videos under `videos`; what was written.

    `attributes`: those that are actions, by name; none: all, and labels where a track has none.
    `share` of the videos is drawn for training where CVAT's subsets do not tell. `fps`: of videos
    that are folders of pictures. Raises DataError.
    """
    tasks = [task for path in find_exports(exports) for task in read_cvat(path)]
    rows: dict[str, list[Row]] = {}
    subsets: dict[str, str] = {}
    left_out = 0
    for task, (name, file) in zip(tasks, _find(tasks, videos), strict=True):
        # Several tasks of one video are one: it is not to be trained on and tested.
        if some := list(_rows(task, name, os.path.join(videos, file), attributes, fps)):
            rows.setdefault(name, []).extend(some)
            subsets[name] = task.subset
        else:
            left_out += 1
    found: dict[str, list[Row]] = {"train": [], "val": []}
    for name, split in zip(rows, _split([*subsets.values()], share, seed), strict=True):
        found[split] += rows[name]
    every = found["train"] + found["val"]
    names = sorted({action for row in every for action in row.actions})
    if not names:
        raise DataError(
            f"{', '.join(map(str, exports))}: not one box has an action{_of(attributes)}"
        )
    folder = Path(out) / ANNOTATIONS
    folder.mkdir(parents=True, exist_ok=True)
    for name, some in found.items():
        _write_boxes(folder / f"{name}.csv", some, names)
    write_text(folder / LABELS, label_map(names))
    return _told(found, names, left_out, videos, out)


def _find(tasks: list[Task], videos: str) -> Iterator[tuple[str, str]]:
    """(name, file or folder) of each task's video as trainings find it. Raises DataError."""
    # Without the suffix, unless it is a folder of pictures with a dot.
    names = [[n for text in t.names for n in (text, os.path.splitext(text)[0])] for t in tasks]
    every = list(chain.from_iterable(names))
    there = {name: file for name, file in zip(every, locate(every, (videos,)), strict=True) if file}
    for task, some in zip(tasks, names, strict=True):
        if not (found := [name for name in some if name in there]):
            raise DataError(
                f"{task.where}: its video is not under {videos} by the name of "
                f"{' or '.join(task.names) or 'the task'}; all are looked for in this one folder"
            )
        yield found[0], there[found[0]]


def _rows(task: Task, name: str, path: str, attributes: Sequence[str], fps: float) -> Iterator[Row]:
    """The boxes of its key frames, second by second."""
    with open_source(path, None, fps) as video:
        seconds = np.arange(math.ceil(video.info.frames / video.info.fps) + 1)
        frames = video.at(seconds.astype(float))
        frames = frames[frames < video.info.frames].tolist()
        size = task.size or (video.info.width, video.info.height)
        if abs(size[0] * video.info.height - size[1] * video.info.width) > max(size):
            raise DataError(
                f"{task.where}: was annotated in pictures of {size[0]} x {size[1]}, "
                f"{os.path.basename(path)} has {video.info.width} x {video.info.height}: another "
                "video?"
            )
    for second, frame in enumerate(frames):
        for person, track in enumerate(task.tracks):
            if box := track.at(frame):
                corners = np.clip(box.corners / [*size, *size], 0, 1)
                if (corners[2:] > corners[:2]).all():
                    actions = _actions(box, track.label, attributes)
                    yield Row(name, second, tuple(corners.tolist()), actions, person)


def _actions(box: Box, label: str, attributes: Sequence[str]) -> tuple[str, ...]:
    """The values of its attributes; of a box to tick, the attribute's name."""
    if not attributes and not box.attributes:
        return (label,)
    asked = {k: v for k, v in box.attributes.items() if not attributes or k in attributes}
    said = {k if v.lower() == "true" else v for k, v in asked.items() if v.lower() not in NOTHING}
    return tuple(sorted(said))


def _split(subsets: list[str], share: float, seed: int) -> list[str]:
    """The split of each video: by CVAT's subsets if they have both kinds, else by a draw.

    Raises DataError.
    """
    if not 0 < share < 1:
        raise DataError(f"--split {share}: expected the share of videos to train on, as 0.8")
    if len(subsets) < 2:
        raise DataError(
            f"{len(subsets)} annotated videos: a training needs two, for one is kept for validation"
        )
    told = [SPLITS.get(subset.lower(), "") for subset in subsets]
    if set(told) == {"train", "val"}:
        return told
    order = np.random.default_rng(seed).permutation(len(subsets)).tolist()
    training = min(max(round(share * len(subsets)), 1), len(subsets) - 1)
    return ["train" if place < training else "val" for place in order]


def _write_boxes(path: Path, rows: Iterable[Row], names: list[str]) -> None:
    """A row for each action; of a person who does nothing one without."""
    number = {name: str(i) for i, name in enumerate(names, 1)}
    with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        for row in rows:
            place = [row.video, f"{row.second:04d}", *(f"{x:.6f}" for x in row.corners)]
            for action in row.actions or ("",):
                table.writerow([*place, number.get(action, ""), row.person])


def _of(attributes: Sequence[str]) -> str:
    return f" by the attribute {' or '.join(attributes)}" if attributes else ""


def _told(
    found: dict[str, list[Row]], names: list[str], left_out: int, videos: str, out: str
) -> str:
    lines = []
    for name, rows in found.items():
        counts = Counter(action for row in rows for action in row.actions)
        keyframes = len({(row.video, row.second) for row in rows})
        lines.append(
            f"{name}.csv: {len(rows)} boxes on {keyframes} key frames of "
            f"{len({row.video for row in rows})} videos; "
            + ", ".join(f"{action} {counts[action]}" for action in names)
        )
    if left_out:
        lines.append(f"{left_out} tasks have no box on a key frame and are left out")
    told = f"DATA.PATH_TO_DATA_DIR {out} AVA.FRAME_DIR {os.path.abspath(videos)}"
    return "\n".join(
        [*lines, f"{len(names)} actions; train with {told} MODEL.NUM_CLASSES {len(names)}"]
    )
