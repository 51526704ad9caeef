"""Do AVA's frames, boxes and lists fit together? What does not, by video, with its mend."""

import os
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from cmvl.data.ava import Ava
from cmvl.data.ava_files import (
    NO_ACTION,
    BoxRows,
    Frames,
    build_ava_paths,
    read_boxes,
    read_label_map,
)
from cmvl.data.frames import open_source
from cmvl.data.parallel import Crash, for_each
from cmvl.utils.errors import VideoError


@dataclass
class AvaReport:
    """A split in words; trouble by kind: what it is -> the videos or rows it was found in."""

    title: str
    trouble: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unreadable: int = 0

    @property
    def unusable(self) -> int:
        """Videos that cannot be used."""
        return self.unreadable

    def __str__(self) -> str:
        lines = [self.title]
        for kind, found in self.trouble.items():
            more = f", and {len(found) - 10} more" if len(found) > 10 else ""
            lines.append(f"  {kind}: {len(found)} ({'; '.join(found[:10])}{more})")
        return "\n".join(lines if self.trouble else [*lines, "  nothing amiss"])


def build_ava_report(cfg: CfgNode, split: str, workers: int) -> AvaReport:
    """`check_ava` for a split of a config."""
    paths = build_ava_paths(cfg, split)
    classes = read_label_map(paths.label_map) if paths.label_map else ()
    return check_ava(
        Ava.from_cfg(cfg, split), [*paths.truth, *paths.persons], set(classes), workers
    )


def check_ava(
    dataset: Ava, files: Sequence[str], classes: Set[int] = frozenset(), workers: int = 0
) -> AvaReport:
    """Open every video of a split once and compare it with the split's box files.

    `classes`: the ids of the label map, if there is one.
    """
    records, trouble, frames = dataset.records, defaultdict(list), []
    videos = np.unique(records.video).tolist()
    report = AvaReport(f"{dataset}; {len(dataset.table)} boxes", trouble)
    tables = [_read(path, dataset) for path in files]
    jobs = [
        (
            dataset.places.path(v),
            dataset.places.frames[v],
            dataset.target_fps,
            dataset.start_second,
            np.unique(np.concatenate([records.second[records.video == v], *_seconds(tables, v)])),
        )
        for v in videos
    ]
    for place, answer in for_each(_probe, jobs, workers, "videos"):
        name = records.names[videos[place]]
        if isinstance(answer, Crash | str):
            report.unreadable += 1
            trouble["cannot be read"].append(f"{name}: {answer}")
            continue
        found, expected, rate, missing = answer
        frames.append(found)
        if missing:
            trouble["seconds without frames"].append(
                f"{name}: {len(missing)} of {len(jobs[place][-1])}, first {missing[0]}; expected "
                f"{expected} frames or more at {rate:g} a second, found {found}"
            )
    if frames:
        report.title += f"; {min(frames)} to {max(frames)} frames a video"
    for table in tables:
        check_boxes(table, classes, trouble)
    return report


@dataclass(frozen=True)
class _Table:
    """A box file: its rows, their keys, and what the data set makes of these."""

    name: str
    rows: BoxRows
    keys: list[tuple[str, float]]
    video: NDArray[np.int64]  # (n,) its number, -1 for one the data set does not have
    second: NDArray[np.int64]
    inside: NDArray[np.bool_]  # the annotated range


def _read(path: str, dataset: Ava) -> _Table:
    frames, numbers = Frames(), {name: v for v, name in enumerate(dataset.table.videos)}
    rows, _ = read_boxes(path, frames)
    keys = frames.keys()
    keys = [keys[f] for f in rows.frames]
    video = np.array([numbers.get(name, -1) for name, _ in keys], np.int64)
    second = np.array([second for _, second in keys], np.int64)
    first, last = (limit[video] for limit in dataset.ranges)
    inside = (video >= 0) & (first <= second) & (second <= last)
    return _Table(os.path.basename(path), rows, keys, video, second, inside)


def _seconds(tables: Sequence[_Table], v: int) -> list[NDArray[np.int64]]:
    return [table.second[(table.video == v) & table.inside] for table in tables]


def check_boxes(table: _Table, classes: Set[int], trouble: dict[str, list[str]]) -> None:
    """Boxes outside 0..1 or without area, at times that nobody looks at, of no known class."""
    boxes, actions = table.rows.boxes, table.rows.actions
    x1, y1, x2, y2 = boxes.T
    wrong = {
        "boxes outside 0..1": ((boxes < 0) | (boxes > 1)).any(axis=1),
        "boxes without area": (x1 >= x2) | (y1 >= y2),
        "seconds outside the annotated range": (table.video >= 0) & ~table.inside,
        "videos in which no box is asked for": table.video < 0,
    }
    if classes:
        unknown = ~np.isin(actions, [NO_ACTION, *classes])
        ids = ", ".join(map(str, np.unique(actions[unknown])))
        wrong[f"ids outside the label map, which nobody evaluates: {ids}"] = unknown
    for kind, bad in wrong.items():
        if bad.any():
            video, second = table.keys[np.flatnonzero(bad)[0]]
            trouble[kind].append(f"{table.name}: {bad.sum()} rows, first {video} at {second}")


def _probe(job: tuple) -> tuple[int, int, float, list[int]] | str:
    """(frames, how many the last key frame needs, their rate, seconds beyond them) of a video, or
    why it cannot be read."""
    path, count, rate, start, seconds = job
    try:
        with open_source(path, count, rate) as video:
            info, centres = video.info, video.at(seconds - start)
    except VideoError as error:
        return str(error)
    missing = seconds[(centres < 0) | (centres >= info.frames)].tolist()
    return info.frames, int(centres.max()) + 1, info.fps, missing
