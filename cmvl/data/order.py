"""The order of videos in training, alike for every process."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """Keys (epoch, index) of one pass over `length` videos, shuffled by (seed, epoch) alone.

    A step takes the next `step_videos` of this order, whatever the number of processes: process
    `rank` of `ranks` takes its part of them, `passes` times `videos` for as many backward passes.
    What is left at the end and makes no step is left out.
    """

    def __init__(
        self, length: int, seed: int, videos: int, rank: int = 0, ranks: int = 1, passes: int = 1
    ):
        self.length, self.seed, self.videos = length, seed, videos
        self.rank, self.ranks, self.passes = rank, ranks, passes
        self.step_videos = videos * ranks * passes
        self.steps = length // self.step_videos  # of a whole epoch
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Go on in `epoch` after its first `start` videos, over all processes."""
        self.epoch, self.start = epoch, start

    def place(self, i: int) -> int:
        """Videos of this epoch behind us after i more steps."""
        return self.start + i * self.step_videos

    def end(self) -> int:
        """Videos behind us when no further step fits into this epoch."""
        return self.place(self.steps_left())

    def steps_left(self) -> int:
        return max(0, self.length - self.start) // self.step_videos  # the list may have shrunk

    def __len__(self) -> int:
        return self.steps_left() * self.videos * self.passes

    def __iter__(self) -> Iterator[tuple[int, int]]:
        # The length as a third number: (seed, epoch, index) are the seeds of the items.
        rng = np.random.default_rng([self.seed, self.epoch, self.length])
        order = rng.permutation(self.length)[self.start :]
        order = order[: self.steps_left() * self.step_videos]
        mine = order.reshape(-1, self.passes, self.ranks, self.videos)[:, :, self.rank]
        epoch = self.epoch
        return ((epoch, index) for index in mine.ravel().tolist())
