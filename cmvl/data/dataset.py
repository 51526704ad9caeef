"""From a row of a list to the clips of one video, and what happens when it cannot be read.

N clips (training) or V views x S crops (tests) of T frames come from one opening and one decoding
of the file. All randomness is a pure function of (seed, epoch, index): neither the number of
workers nor the order of reading changes a clip.
"""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from cmvl.data.container import check_disk
from cmvl.data.decode import VideoInfo
from cmvl.data.frames import FrameSource, open_source
from cmvl.data.planes import Scratch
from cmvl.data.records import Records
from cmvl.data.rules import RULES
from cmvl.data.transforms import Transform, View
from cmvl.data.workers import holding
from cmvl.structures import VideoItem
from cmvl.utils.errors import DataError, VideoError
from cmvl.utils.logging import printable

LOOKED_FOR = 256  # videos of a list before a training: a second or two on a disk far away


class VideoDataset(Dataset):
    """Videos as `VideoItem`s, asked for by (epoch, index), or by index in epoch 0.

    train: clips uint8 (num_clips, 3, T, c, c), at random. A video that cannot be read is replaced
    by a random other one, at most `max_resamples` times, then DataError.
    val, test: clips uint8 (views * S, 3, T, c, c), number temporal * S + spatial. A video that
    cannot be read raises VideoError, or with `skip_broken` comes as an item without clips.
    `rule`: how a clip takes its frames (`rules.py`). `backend`: what decodes them.
    `augment`: what is done to the training clips (N, 3, T, c, c) in the end.
    """

    clip_rule = "span"  # the data set's own `rule`
    tasks: Sequence[str] = ("classification",)  # that its labels are fit for

    def __init__(
        self,
        records: Records,
        split: str,
        transform: Transform,
        num_frames: int,
        sampling_rate: float,
        target_fps: float = 30.0,
        num_clips: int = 1,
        stratified: bool = False,
        shuffled: bool = False,
        views: int = 1,
        seed: int = 0,
        max_resamples: int = 10,
        skip_broken: bool = False,
        rule: str = "span",
        backend: str = "pyav",
        augment: Callable[[Tensor, np.random.Generator], Tensor] | None = None,
    ):
        self.records, self.split, self.transform = records, split, transform
        self.num_frames, self.sampling_rate = num_frames, sampling_rate
        self.target_fps, self.rule, self.augment = target_fps, rule, augment
        self.backend = backend
        self.num_clips, self.views = num_clips, views
        self.stratified, self.shuffled = stratified, shuffled
        self.seed, self.max_resamples, self.skip_broken = seed, max_resamples, skip_broken
        self.held: Tensor | None = None  # see `loader.py`

    def __len__(self) -> int:
        return len(self.records)

    def shard(self, rank: int, ranks: int) -> Sequence[int]:
        """The items of process `rank` of `ranks`: each is in exactly one, in rising order."""
        return range(rank, len(self), ranks)

    def unit(self, index: int) -> int:
        """The number of what is tested in one go with an item: the item itself."""
        return index

    def spaced(self, count: int) -> list[int]:
        """So many items, or all if they are fewer, evenly spaced in the list."""
        return np.unique(np.linspace(0, len(self) - 1, count).astype(int)).tolist()

    def check_there(self) -> None:
        """Looks for some videos, evenly spaced in the list; an evaluation would stop at one that is
        missing. Raises DataError.
        """
        if self.skip_broken or not len(self):
            return
        some = self.spaced(LOOKED_FOR)
        gone = [i for i in some if not os.path.exists(self.records.path(i))]
        if gone:
            check_disk(self.records.path(gone[0]))
            raise DataError(
                f"{self.records.where(gone[0])}: {self.records.path(gone[0])} is not there; "
                f"{len(gone)} of {len(some)} videos of this list that were looked for are missing, "
                "and an evaluation would stop at the first. Set DATA.PATH_PREFIX, mend the list "
                "(`python tools/check_data.py` names every one), or set TEST.SKIP_BROKEN True to "
                "leave such videos out"
            )

    def __str__(self) -> str:
        clips = self.num_clips if self.split == "train" else self.views
        return (
            f"{len(self)} videos of {self.records.list_file} in {clips} clips x "
            f"{self.transform.crops} crops"
        )

    @property
    def class_names(self) -> list[str]:
        """Of class 0, 1 ...; empty if unknown, and "" for a class that is not evaluated."""
        return [printable(name) for name in self.records.class_names]

    def __getitem__(self, key: int | tuple[int, int]) -> VideoItem:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"video {index} of {len(self)}")  # also what ends a `for` over self
        rng = np.random.default_rng([self.seed, epoch, index])
        return (
            self._train_item(index, rng) if self.split == "train" else self._test_item(index, rng)
        )

    def _train_item(self, index: int, rng: np.random.Generator) -> VideoItem:
        failures: list[str] = []
        while True:
            try:
                return self._load(index, rng, failures)
            except VideoError as error:
                failures.append(self._message(index, error))
            if len(failures) > self.max_resamples:
                raise DataError(
                    f"{self.records.list_file}: {len(failures)} videos drawn in a row cannot be "
                    f"read (DATA.MAX_RESAMPLES {self.max_resamples}); mend or remove them:\n"
                    + "\n".join(dict.fromkeys(failures))
                )
            index = int(rng.integers(len(self)))

    def _test_item(self, index: int, rng: np.random.Generator) -> VideoItem:
        try:
            return self._load(index, rng)
        except VideoError as error:
            message = self._message(index, error)
            if self.skip_broken:
                return VideoItem(None, self._label(index), index, (message,))
            raise VideoError(
                f"{message}\nMend or remove it, or set TEST.SKIP_BROKEN True to leave such videos "
                "out and list them in the results."
            ) from error

    def _message(self, index: int, error: VideoError) -> str:
        return f"{self.records.where(index)}: {error}"

    def _label(self, index: int) -> Tensor:
        return torch.tensor(self.records.label(index))

    def _load(
        self, index: int, rng: np.random.Generator, failures: list[str] | tuple = ()
    ) -> VideoItem:
        """The item of a video. Raises VideoError."""
        records, train = self.records, self.split == "train"
        clips, indices, info = self.read(index, rng)
        if train and self.augment:
            clips = self.augment(clips, rng)
        of_clips = records.clip_labels(index, indices, info) if train else None
        return VideoItem(
            clips,
            self._label(index),
            index,
            tuple(failures),
            clip_labels=None if of_clips is None else torch.from_numpy(of_clips),
        )

    def read(self, index: int, rng: np.random.Generator) -> tuple[Tensor, np.ndarray, VideoInfo]:
        """A video's clips, the frames (clips, T) they are made of, its size and rate.

        Raises VideoError.
        """
        path, frames = self.records.path(index), self.records.frames(index)
        source = open_source(path, frames, self.target_fps, self.backend)
        with holding(self.held, index), source as video:
            info = video.info
            indices = self.indices(info, rng)
            views = self.transform.views(len(indices), info.height, info.width, rng)
            # Training's are stacked into such memory by `collate`, tests' are alone in their batch.
            seen_by_all = self.split != "train" and get_worker_info() is not None
            return cut_clips(video, indices, views, seen_by_all), indices, info

    def indices(self, info: VideoInfo, rng: np.random.Generator) -> np.ndarray:
        """The frames (clips, T) that are taken of a video; `rng` as in `read`, still fresh."""
        rule = RULES[self.rule](self.num_frames, self.sampling_rate, self.target_fps)
        if self.split == "train":
            clips = rule.random(info.frames, info.fps, self.num_clips, rng, self.stratified)
            # In order of time, clip n's group of the batch norm would see one part of all videos.
            shuffled = self.stratified and self.shuffled
            return clips[rng.permutation(len(clips))] if shuffled else clips
        return rule.uniform(info.frames, info.fps, self.views)


def cut_clips(
    video: FrameSource, indices: np.ndarray, views: list[View], seen_by_all: bool = False
) -> Tensor:
    """Frames `indices` (N, T), clip n cut as views[n] says: uint8 (N * S, 3, T, h, w).

    Every frame is decoded once, however many clips it is part of. `seen_by_all`: in memory that
    goes to another process without a copy.
    """
    N, T = indices.shape
    S = len(views[0].offsets)
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for n, row in enumerate(indices.tolist()):
        for t, k in enumerate(row):
            places[k].append((n, t))
    clips = _room((N * S, 3, T, *views[0].shape), seen_by_all)
    pixels, scratch = clips.numpy(), Scratch()
    for k, frame in video.pictures(places):
        of_view: dict[View, list[tuple[int, int]]] = defaultdict(list)
        for n, t in places[k]:
            of_view[views[n]].append((n, t))
        for view, where in of_view.items():
            for s, picture in enumerate(view.cut(frame, scratch)):
                for n, t in where:
                    # Into the three planes in place; five times faster than a transposed copy.
                    cv2.split(picture, list(pixels[n * S + s, :, t]))
    return clips


def _room(shape: tuple[int, ...], seen_by_all: bool) -> Tensor:
    """Uninitialised uint8."""
    if seen_by_all:
        storage = torch.UntypedStorage._new_shared(math.prod(shape))
        return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)
    # NumPy's memory is that of an earlier video; torch's is fresh, and ten times dearer to fill.
    return torch.from_numpy(np.empty(shape, np.uint8))
