"""From a row of a list to the clips of one video, and what happens when it cannot be read.

N clips (training) or V views x S crops (tests) of T frames come from one opening and one decoding
of the file. All randomness is a pure function of (seed, epoch, index): neither the number of
workers nor the order of reading changes a clip.
"""

from collections import defaultdict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cmvl.data.decode import Video, open_video
from cmvl.data.records import Records
from cmvl.data.sampling import clip_span, frame_indices, random_clips, uniform_clips
from cmvl.data.transforms import Transform, View
from cmvl.structures import VideoItem
from cmvl.utils.errors import DataError, VideoError


class VideoDataset(Dataset):
    """Videos as `VideoItem`s, asked for by (epoch, index), or by index in epoch 0.

    train: clips uint8 (num_clips, 3, T, c, c), at random. A video that cannot be read is replaced
    by a random other one, at most `max_resamples` times, then DataError.
    val, test: clips uint8 (views * S, 3, T, c, c), number temporal * S + spatial. A video that
    cannot be read raises VideoError, or with `skip_broken` comes as an item without clips.
    """

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
        views: int = 1,
        seed: int = 0,
        max_resamples: int = 10,
        skip_broken: bool = False,
    ):
        self.records, self.split, self.transform = records, split, transform
        self.num_frames, self.sampling_rate = num_frames, sampling_rate
        self.target_fps = target_fps
        self.num_clips, self.stratified, self.views = num_clips, stratified, views
        self.seed, self.max_resamples, self.skip_broken = seed, max_resamples, skip_broken

    def __len__(self) -> int:
        return len(self.records)

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
                return self._item(index, self._clips(index, rng), failures)
            except VideoError as error:
                failures.append(self._message(index, error))
            if len(failures) > self.max_resamples:
                raise DataError(
                    f"{self.records.list_file}: {len(failures)} videos drawn in a row cannot be "
                    f"read (DATA.MAX_RESAMPLES {self.max_resamples}); mend or remove them:\n"
                    + "\n".join(failures)
                )
            index = int(rng.integers(len(self)))

    def _test_item(self, index: int, rng: np.random.Generator) -> VideoItem:
        try:
            return self._item(index, self._clips(index, rng))
        except VideoError as error:
            message = self._message(index, error)
            if self.skip_broken:
                return self._item(index, None, [message])
            raise VideoError(
                f"{message}\nMend or remove it, or set TEST.SKIP_BROKEN True to leave such videos "
                "out and list them in the results."
            ) from error

    def _message(self, index: int, error: VideoError) -> str:
        return f"{self.records.where(index)}: {error}"

    def _item(
        self, index: int, clips: Tensor | None, failures: list[str] | tuple = ()
    ) -> VideoItem:
        return VideoItem(clips, torch.tensor(self.records.label(index)), index, tuple(failures))

    def _clips(self, index: int, rng: np.random.Generator) -> Tensor:
        with open_video(self.records.path(index)) as video:
            info = video.info
            span = clip_span(self.num_frames, self.sampling_rate, self.target_fps, info.fps)
            starts = self._starts(info.frames, span, rng)
            indices = frame_indices(starts, span, self.num_frames, info.frames)
            views = self.transform.views(len(starts), info.height, info.width, rng)
            return cut_clips(video, indices, views)

    def _starts(self, length: int, span: float, rng: np.random.Generator) -> np.ndarray:
        if self.split == "train":
            return random_clips(length, span, self.num_clips, rng, self.stratified)
        return uniform_clips(length, span, self.views)


def cut_clips(video: Video, indices: np.ndarray, views: list[View]) -> Tensor:
    """Frames `indices` (N, T), clip n cut as views[n] says: uint8 (N * S, 3, T, crop, crop).

    Every frame is decoded once, however many clips it is part of.
    """
    N, T = indices.shape
    S, crop = len(views[0].offsets), views[0].crop
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for n, t in np.ndindex(N, T):
        places[int(indices[n, t])].append((n, t))
    clips = torch.empty((N * S, 3, T, crop, crop), dtype=torch.uint8)
    pixels = clips.numpy()
    for k, frame in video.frames(places):
        cuts = {view: view.cut(frame) for view in {views[n] for n, _ in places[k]}}
        for n, t in places[k]:
            for s, picture in enumerate(cuts[views[n]]):
                # Into the three planes in place; five times faster than a transposed copy.
                cv2.split(picture, list(pixels[n * S + s, :, t]))
    return clips
