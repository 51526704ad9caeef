"""Do AVA's frames, boxes and lists fit together? What does not, by video, with its mend."""

import os
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from fvcore.common.config import CfgNode

from cmvl.data.ava import Ava
from cmvl.data.ava_files import NO_ACTION, Frames, build_ava_paths, read_boxes, read_label_map
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
    jobs = [
        (
            dataset.places.path(v),
            dataset.places.frames[v],
            dataset.target_fps,
            dataset.start_second,
            records.second[records.video == v],
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
    check_boxes(files, dataset, classes, trouble)
    return report


def check_boxes(
    files: Sequence[str], dataset: Ava, classes: Set[int], trouble: dict[str, list[str]]
) -> None:
    """Boxes outside 0..1 or without area, at seconds that are no key frames, of no known class."""
    names = set(dataset.table.videos)
    first, last = dataset.ranges
    for path in files:
        frames, name = Frames(), os.path.basename(path)
        rows, _ = read_boxes(path, frames)
        keys = frames.keys()
        x1, y1, x2, y2 = rows.boxes.T
        wrong = {
            "boxes outside 0..1": ((rows.boxes < 0) | (rows.boxes > 1)).any(axis=1),
            "boxes without area": (x1 >= x2) | (y1 >= y2),
            "seconds outside the annotated range": np.array(
                [_outside(keys[f], dataset.table.videos, names, first, last) for f in rows.frames]
            ),
        }
        if classes:
            unknown = ~np.isin(rows.actions, [NO_ACTION, *classes])
            ids = ", ".join(map(str, np.unique(rows.actions[unknown])))
            wrong[f"ids outside the label map, which nobody evaluates: {ids}"] = unknown
        for kind, bad in wrong.items():
            if bad.any():
                video, second = keys[rows.frames[np.flatnonzero(bad)[0]]]
                trouble[kind].append(f"{name}: {bad.sum()} rows, first {video} at {second}")


def _outside(key, videos, names, first, last) -> bool:
    if key[0] not in names:
        return False
    v = int(np.searchsorted(videos, key[0]))
    return not first[v] <= key[1] <= last[v]


def _probe(job: tuple) -> tuple[int, int, float, list[int]] | str:
    """(frames, how many the last key frame needs, their rate, seconds beyond them) of a video, or
    why it cannot be read."""
    path, count, rate, start, seconds = job
    try:
        with open_source(path, count, rate) as video:
            info = video.info
    except VideoError as error:
        return str(error)
    centres = np.round((seconds - start) * info.fps)
    missing = seconds[(centres < 0) | (centres >= info.frames)].tolist()
    return info.frames, int(centres.max()) + 1, info.fps, missing
