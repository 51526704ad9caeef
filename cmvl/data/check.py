"""Is every video of a data set there, readable and long enough? What is not, by list and line."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from cmvl.data.container import check_disk
from cmvl.data.dataset import VideoDataset
from cmvl.data.disk import read_classes
from cmvl.data.frames import open_source
from cmvl.data.parallel import Crash, for_each
from cmvl.data.records import Records
from cmvl.data.sampling import clip_span
from cmvl.utils.errors import VideoError

KINDS = ("missing", "broken", "short")


@dataclass(frozen=True)
class Probe:
    """What opening a video gave: a kind of trouble, "" for none, and its description."""

    kind: str
    message: str = ""


@dataclass
class Report:
    """A split's videos: how many are listed and were opened, what is wrong, the classes."""

    list_file: str
    listed: int
    opened: int
    trouble: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    classes: Counter = field(default_factory=Counter)
    num_classes: int = 0
    names: dict[int, str] = field(default_factory=dict)
    clean_list: str = ""
    twice: list[str] = field(default_factory=list)  # lines of videos that stand elsewhere too

    @property
    def unusable(self) -> int:
        return len(self.trouble["missing"]) + len(self.trouble["broken"])

    def __str__(self) -> str:
        counts = ", ".join(f"{kind} {len(found)}" for kind, found in self.trouble.items())
        lines = [f"{self.list_file}: {self.listed} videos, {self.opened} opened; {counts}"]
        for kind, found in {**self.trouble, "twice": self.twice}.items():
            lines += [f"  {kind}: {message}" for message in found[:10]]
            if len(found) > 10:
                lines.append(f"  {kind}: and {len(found) - 10} more")
        lines.append(self._histogram())
        if self.clean_list:
            lines.append(f"  list without missing and broken videos: {self.clean_list}")
        return "\n".join(lines)

    def _histogram(self) -> str:
        counts = [self.classes[k] for k in range(self.num_classes)]
        empty = [self.names.get(k, str(k)) for k, n in enumerate(counts) if n == 0]
        text = (
            f"  videos of a class: {min(counts)} to {max(counts)}, median {np.median(counts):g}; "
            f"{len(empty)} of {self.num_classes} classes have none"
        )
        return text + (
            f" ({', '.join(empty[:5])}{' ...' if len(empty) > 5 else ''})" if empty else ""
        )


def check(
    dataset: VideoDataset,
    num_classes: int,
    sample: int = 0,
    workers: int = 0,
    out: str = "",
    train: Records | None = None,
    every_frame: bool = False,
) -> Report:
    """Open every video of a data set, or `sample` of them drawn at random.

    Decoded are the first, middle and last frame, or `every_frame`. With `out`, a folder, a list
    without the missing and broken ones is written there. Of those of `train`, the list of another
    split, this one should have none.
    """
    records = dataset.records
    places = np.arange(len(records))
    if 0 < sample < len(records):
        places = np.sort(np.random.default_rng(0).choice(places, sample, replace=False))
    report = Report(records.list_file, len(records), len(places), num_classes=num_classes)
    report.names = _names(records.list_file)
    report.twice = find_twice(records, train)
    for i in range(len(records)):
        report.classes.update(records.labels_of(i))
    jobs = [(records.path(i), records.frames(i)) for i in places.tolist()]
    task = partial(
        probe_whole,
        T=dataset.num_frames,
        tau=dataset.sampling_rate,
        target_fps=dataset.target_fps,
        backend=dataset.backend,
        every_frame=every_frame,
    )
    unusable = []
    found = dict(for_each(task, jobs, workers, f"checking {os.path.basename(records.list_file)}"))
    for place in sorted(found):
        i, probe = int(places[place]), found[place]
        if isinstance(probe, Crash):
            probe = Probe("broken", f"{jobs[place][0]}: {probe}")
        if probe.kind:
            report.trouble[probe.kind].append(f"{records.where(i)}: {probe.message}")
        if probe.kind in ("missing", "broken"):
            unusable.append(i)
    if out and os.path.isfile(records.list_file):
        report.clean_list = write_clean(records, unusable, out)
    return report


def probe_whole(
    job: tuple[str, int | None],
    T: int,
    tau: float,
    target_fps: float,
    backend: str = "pyav",
    every_frame: bool = False,
) -> Probe:
    """Open a video and decode its first, middle and last frame, or every one."""
    path, frames = job
    if not os.path.exists(path):
        check_disk(path)
        return Probe("missing", path)
    try:
        with open_source(path, frames, target_fps, backend) as video:
            last = video.info.frames - 1
            for _ in video.pictures(range(last + 1) if every_frame else {0, last // 2, last}):
                pass
            span = clip_span(T, tau, target_fps, video.info.fps)
    except VideoError as error:
        return Probe("broken", str(error))
    if last + 1 < span:
        return Probe("short", f"{path}: {last + 1} frames, a clip spans {span:g}")
    return Probe("")


def find_twice(records: Records, train: Records | None = None) -> list[str]:
    """A line for each video that stands further up in its list, or in that of training."""
    seen: dict[str, tuple[Records, int]] = {}
    for i in range(len(train) if train else 0):
        seen.setdefault(_place(train, i), (train, i))
    found = []
    for i in range(len(records)):
        other, k = seen.setdefault(_place(records, i), (records, i))
        if (other, k) != (records, i):
            classes = "" if other.labels_of(k) == records.labels_of(i) else ", of another class"
            found.append(f"{records.where(i)} is the video of {other.where(k)}{classes}")
    return found


def _place(records: Records, i: int) -> str:
    listed = records.listed_path(i)  # an absolute one needs no look at the disk
    return os.path.abspath(listed if os.path.isabs(listed) else records.path(i))


def write_clean(records: Records, unusable: Sequence[int], out: str) -> str:
    """Copy the list without the lines of the `unusable` videos; returns the new list's path.

    Paths that are relative to the list's folder become absolute: the copy lies elsewhere.
    """
    os.makedirs(out, exist_ok=True)
    target = os.path.join(out, os.path.basename(records.list_file))
    with open(records.list_file, encoding="utf-8", errors="surrogateescape", newline="") as file:
        lines = file.readlines()
    starts = [records.line(i) - 1 for i in range(len(records))] + [len(lines)]
    for i, k in enumerate(starts[:-1]):
        lines[k] = _as_elsewhere(lines[k], records, i)
    drop = {k for i in unusable for k in range(starts[i], starts[i + 1])}
    if os.path.exists(target) and os.path.samefile(target, records.list_file):
        target = f"{os.path.splitext(target)[0]}.clean.csv"
    with open(target, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.writelines(line for k, line in enumerate(lines) if k not in drop)
    return target


def _as_elsewhere(line: str, records: Records, i: int) -> str:
    """A line of a path, numbers and labels, as a list in another folder has it."""
    listed, place, folder = records.listed_path(i), records.path(i), records.roots[-1]
    if place == listed or folder != os.path.dirname(records.list_file):
        return line  # absolute, from the working folder, or below DATA.PATH_PREFIX
    numbers = r'[\t;, ][\t;, \r\n0-9"]*'
    parts = re.fullmatch(rf"(\ufeff?\s*\"?){re.escape(listed)}(\"?{numbers})", line)
    return f"{parts[1]}{os.path.abspath(place)}{parts[2]}" if parts else line


def _names(list_file: str) -> dict[int, str]:
    classes = read_classes(os.path.dirname(list_file)) or {}
    return {index: name for name, index in classes.items()}
