"""One's own videos: found by file, folder or list, and read in clips as a test reads them."""

import hashlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from cmvl.data.build import build_options, find_dataset
from cmvl.data.dataset import VideoDataset
from cmvl.data.decode import VideoInfo
from cmvl.data.disk import walk_media
from cmvl.data.frames import PICTURES
from cmvl.data.lists import split_line
from cmvl.data.loader import VideoLoader
from cmvl.data.records import Records
from cmvl.data.workers import holding
from cmvl.launch.signals import handling
from cmvl.utils.errors import DataError, VideoError

LISTS = (".csv", ".txt", ".tsv", ".list")
LONG = 200  # bytes of a file's name, which most disks end at 255


@dataclass(frozen=True)
class Source:
    """A video file or frame folder, and its label where a list tells one; of several, none."""

    path: str
    label: int = -1
    frames: int | None = None  # of a frame folder, where the list tells


@dataclass(frozen=True)
class Footage:
    """V clips x S crops of a video, as its test has them."""

    source: Source
    clips: Tensor  # uint8 (V, S, 3, T, h, w)
    frames: NDArray[np.int64]  # (V, T) numbers of their frames
    info: VideoInfo

    @property
    def times(self) -> NDArray[np.float64]:
        """(V, 2) seconds: from the first frame of a clip to the end of its last."""
        ends = np.stack([self.frames.min(axis=1), self.frames.max(axis=1) + 1], axis=1)
        return ends / self.info.fps


@dataclass(frozen=True)
class Failure:
    """A video that cannot be read, and why."""

    source: Source
    message: str


def find_videos(places: Sequence[str]) -> list[Source]:
    """Files as they are, every video of folders, every line of lists. Raises DataError.

    A folder of numbered pictures is one video. A list has a video a line, with or without a label
    (and a number of frames) behind it; relative paths are looked for as they stand, then beside
    the list.
    """
    found: list[Source] = []
    for place in places:
        if os.path.isdir(place):
            found += _in_folder(place)
        elif place.lower().endswith(LISTS):
            found += _read_list(place)
        else:
            found.append(Source(place))
    return found


def _in_folder(place: str) -> list[Source]:
    media = walk_media(place)
    pictures = any(name.lower().endswith(PICTURES) for name in os.listdir(place))
    if not media and not pictures:
        raise DataError(f"{place}: no video in this folder or below it")
    return [Source(os.path.join(place, path)) for path in media] or [Source(place)]


def _read_list(path: str) -> list[Source]:
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: the list cannot be read ({error.strerror})") from error
    if not lines:
        raise DataError(f"{path}: the list is empty")
    roots = ("", os.path.dirname(path))
    return [_find(roots, line) for line in lines]


def _find(roots: Sequence[str], line: str) -> Source:
    """The whole line is a path, or what stands before a label, or before frames and a label."""
    readings = split_line(line)
    for name, frames, label in readings:
        for root in roots:
            path = os.path.join(root, name)
            if os.path.exists(path):
                return Source(path, label, frames)
    name, frames, label = readings[-1]
    return Source(name, label, frames)


class Places:
    """Where each video's own files go: called by its name, or its path where names are alike.

    Where that is too long for a disk, or alike too (`a/b_c`, `a_b/c`), a digest tells them apart.
    """

    def __init__(self, sources: Sequence[Source]):
        paths = [source.path for source in sources]
        by_stem = Counter(Path(path).stem for path in paths)
        names = {}
        for path in paths:
            stem, place = Path(path).stem, os.path.relpath(path).replace(os.sep, "_")
            names[path] = stem if by_stem[stem] == 1 else place
        alike = Counter(names.values())
        fits = {name for name in alike if alike[name] == 1 and len(os.fsencode(name)) <= LONG}
        self._names = {
            path: name if name in fits else _short(name, path) for path, name in names.items()
        }

    def of(self, source: Source, place: Path, suffix: str) -> Path:
        """`place` itself, if it names such a file, or the video's own in that folder."""
        return place if place.suffix == suffix else place / (self._names[source.path] + suffix)


def _short(name: str, path: str) -> str:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return os.fsencode(name)[-LONG // 2 :].decode(errors="ignore") + f"_{digest}"


class Videos(Dataset):
    """The footage, or the failure, of every source."""

    def __init__(self, cfg: CfgNode, sources: Sequence[Source]):
        self.sources = sources
        rule = find_dataset(cfg.TEST.DATASET).clip_rule
        options = build_options(cfg, "test", rule)
        self.crops = options["transform"].crops
        count = len(sources)
        frames = [source.frames or 0 for source in sources]
        records = OwnRecords(
            "", [s.path for s in sources], [-1] * count, range(count), ("",), frames
        )
        self.dataset, self.records = VideoDataset(records, "test", **options), records
        self.held: Tensor | None = None  # by the loader's workers

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, i: int) -> Footage | Failure:
        source = self.sources[i]
        try:
            with holding(self.held, i):
                clips, frames, info = self.dataset.read(i, np.random.default_rng(0))
        except VideoError as error:
            return Failure(source, str(error))
        return Footage(source, clips.unflatten(0, (-1, self.crops)), frames, info)


class OwnRecords(Records):
    """`frames` 0: the list says nothing."""

    def where(self, i: int) -> str:
        return f"video {i + 1}"

    def frames(self, i: int) -> int | None:
        return super().frames(i) or None


def read_videos(
    cfg: CfgNode, sources: Sequence[Source], workers: int = 0
) -> Iterator[Footage | Failure]:
    """In the order of `sources`; `workers` processes read ahead.

    Raises DataError, naming the video, if one of them dies.
    """
    videos = Videos(cfg, sources)
    workers = max(0, min(workers, len(sources) - 1))
    loader = VideoLoader(
        videos, workers, timeout=0, prefetch=2, batch_size=None, collate_fn=_as_it_is
    )
    try:
        yield from loader
    finally:
        loader.kill_workers()


def _as_it_is(item: Footage | Failure) -> Footage | Failure:
    return item


def tell(results: Generator[str | Failure, None, None], total: int) -> None:
    """Print what comes; failures on the error stream, and at the end as the exit status.

    SIGTERM, which a scheduler sends when the time is up, ends it as Ctrl-C does.
    """
    failures = 0
    with handling(signal.default_int_handler, [signal.SIGTERM]), closing(results):
        for result in results:
            if isinstance(result, Failure):
                failures += 1
                print(f"error: {result.message}", file=sys.stderr, flush=True)
            else:
                print(result, flush=True)
    if failures:
        sys.exit(f"{failures} of {total} videos could not be read")
