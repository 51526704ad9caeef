"""Boxes drawn in CVAT as a data set in AVA's format: one key frame a second, a file of boxes for
training and for tests, and a label map."""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmvl.data.cvat_files import Box, Task, find_exports, read_cvat
from cmvl.data.disk import find_media
from cmvl.data.frames import open_source
from cmvl.utils.errors import DataError
from cmvl.utils.files import whole

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
    tasks = [task for path in find_exports([*exports]) for task in read_cvat(path)]
    media = find_media(videos)
    rows = {id(task): list(_rows(task, videos, media, attributes, fps)) for task in tasks}
    splits = _split([task for task in tasks if rows[id(task)]], share, seed)
    found = {
        name: [row for task in some for row in rows[id(task)]] for name, some in splits.items()
    }
    every = [row for some in found.values() for row in some]
    names = sorted({action for row in every for action in row.actions})
    if not names:
        raise DataError(
            f"{', '.join(map(str, exports))}: not one box has an action{_of(attributes)}"
        )
    folder = Path(out) / ANNOTATIONS
    folder.mkdir(parents=True, exist_ok=True)
    for name, some in found.items():
        _write_boxes(folder / f"{name}.csv", some, names)
    with whole(folder / LABELS) as part:
        part.write_text("".join(map(_item, names, range(1, len(names) + 1))), encoding="utf-8")
    return _told(tasks, found, names, videos, out)


def _rows(
    task: Task, videos: str, media: dict[str, str], attributes: Sequence[str], fps: float
) -> Iterator[Row]:
    """The boxes of its key frames, second by second."""
    name = next((n for text in task.names if (n := _stem(text, media)) in media), "")
    if not name:
        raise DataError(
            f"{task.where}: its video is not under {videos} by the name of "
            f"{' or '.join(task.names) or 'the task'} (found {len(media)} videos there)"
        )
    if os.path.dirname(media[name]):
        raise DataError(f"{videos}/{media[name]}: AVA.FRAME_DIR has all videos in one folder; "
                        "move it there")  # fmt: skip
    with open_source(os.path.join(videos, media[name]), None, fps) as video:
        seconds = np.arange(math.ceil(video.info.frames / video.info.fps) + 1)
        frames = video.at(seconds.astype(float))
        frames = frames[frames < video.info.frames].tolist()
        size = task.size or (video.info.width, video.info.height)
        if abs(size[0] * video.info.height - size[1] * video.info.width) > max(size):
            raise DataError(
                f"{task.where}: was annotated in pictures of {size[0]} x {size[1]}, "
                f"{media[name]} has {video.info.width} x {video.info.height}: another video?"
            )
    for second, frame in enumerate(frames):
        for person, track in enumerate(task.tracks):
            if box := track.at(frame):
                corners = np.clip(box.corners / [*size, *size], 0, 1)
                if (corners[2:] > corners[:2]).all():
                    actions = _actions(box, track.label, attributes)
                    yield Row(name, second, tuple(corners.tolist()), actions, person)


def _stem(text: str, media: dict[str, str]) -> str:
    """As `media` has it: without the suffix, unless it is a folder of pictures with a dot."""
    return text if text in media else os.path.splitext(text)[0]


def _actions(box: Box, label: str, attributes: Sequence[str]) -> tuple[str, ...]:
    """The values of its attributes; of a box to tick, the attribute's name."""
    if not attributes and not box.attributes:
        return (label,)
    asked = {k: v for k, v in box.attributes.items() if not attributes or k in attributes}
    said = {k if v.lower() == "true" else v for k, v in asked.items() if v.lower() not in NOTHING}
    return tuple(sorted(said))


def _split(tasks: list[Task], share: float, seed: int) -> dict[str, list[Task]]:
    """By CVAT's subsets if they have both kinds, else by a draw. Raises DataError."""
    if not 0 < share < 1:
        raise DataError(f"--split {share}: expected the share of videos to train on, as 0.8")
    if len(tasks) < 2:
        raise DataError(
            f"{len(tasks)} annotated videos: a training needs two, for one is kept for validation"
        )
    told = [SPLITS.get(task.subset.lower(), "") for task in tasks]
    if set(told) != {"train", "val"}:
        order = np.random.default_rng(seed).permutation(len(tasks)).tolist()
        training = min(max(round(share * len(tasks)), 1), len(tasks) - 1)
        told = ["train" if place < training else "val" for place in order]
    return {
        name: [t for t, s in zip(tasks, told, strict=True) if s == name]
        for name in ("train", "val")
    }


def _write_boxes(path: Path, rows: Iterable[Row], names: list[str]) -> None:
    """A row for each action; of a person who does nothing one without."""
    number = {name: str(i) for i, name in enumerate(names, 1)}
    with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        for row in rows:
            place = [row.video, f"{row.second:04d}", *(f"{x:.6f}" for x in row.corners)]
            for action in row.actions or ("",):
                table.writerow([*place, number.get(action, ""), row.person])


def _item(name: str, number: int) -> str:
    return f'item {{\n  name: "{name}"\n  id: {number}\n}}\n'


def _of(attributes: Sequence[str]) -> str:
    return f" by the attribute {' or '.join(attributes)}" if attributes else ""


def _told(
    tasks: list[Task], found: dict[str, list[Row]], names: list[str], videos: str, out: str
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
    used = {row.video for rows in found.values() for row in rows}
    if len(used) < len(tasks):
        lines.append(f"{len(tasks) - len(used)} tasks have no box on a key frame and are left out")
    told = f"DATA.PATH_TO_DATA_DIR {out} AVA.FRAME_DIR {os.path.abspath(videos)}"
    return "\n".join(
        [*lines, f"{len(names)} actions; train with {told} MODEL.NUM_CLASSES {len(names)}"]
    )
