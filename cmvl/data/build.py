"""From a config to data sets and loaders of train, val and test."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry
from torch.utils.data import DataLoader, Sampler

from cmvl.config import batch_plan
from cmvl.data.dataset import VideoDataset
from cmvl.data.transforms import EvalTransform, TrainTransform
from cmvl.structures import VideoBatch, collate
from cmvl.utils.errors import DataError, UserError

DATASETS = Registry("DATASETS")


class EpochSampler(Sampler[tuple[int, int]]):
    """Keys (epoch, index) of one pass over `length` videos, shuffled by (seed, epoch) alone."""

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        # The length as a third number: (seed, epoch, index) are the seeds of the items.
        rng = np.random.default_rng([self.seed, self.epoch, self.length])
        order = rng.permutation(self.length)
        return ((self.epoch, index) for index in order.tolist())


class VideoLoader(DataLoader):
    """A DataLoader that hands a worker's UserError on in its own words, without its traceback."""

    def __iter__(self) -> Iterator[VideoBatch]:
        try:
            yield from super().__iter__()
        except UserError as error:
            raise type(error)(_own_words(error)) from None


def build_dataset(cfg: CfgNode, split: str) -> VideoDataset:
    """The data set of a split: train, val or test. Raises DataError."""
    name = cfg.TEST.DATASET if split == "test" else cfg.TRAIN.DATASET
    if name not in DATASETS:
        known = ", ".join(sorted(key for key, _ in DATASETS))
        raise DataError(f"no data set is registered as {name!r}; there are: {known}")
    return DATASETS.get(name).from_cfg(cfg, split)


def build_options(cfg: CfgNode, split: str) -> dict[str, Any]:
    """The arguments of `VideoDataset` that do not depend on the annotation."""
    crops = cfg.TEST.NUM_SPATIAL_CROPS if split == "test" else 1
    size = cfg.DATA.TEST_CROP_SIZE
    return {
        "transform": (
            TrainTransform.from_cfg(cfg) if split == "train" else EvalTransform(size, size, crops)
        ),
        "num_frames": cfg.DATA.NUM_FRAMES,
        "sampling_rate": cfg.DATA.SAMPLING_RATE,
        "target_fps": cfg.DATA.TARGET_FPS,
        "num_clips": cfg.VIDEO.NUM_CLIPS,
        "stratified": cfg.VIDEO.STRATIFIED,
        "views": cfg.TEST.NUM_ENSEMBLE_VIEWS if split == "test" else cfg.TRAIN.EVAL_VIEWS,
        "seed": cfg.RNG_SEED,
        "max_resamples": cfg.DATA.MAX_RESAMPLES,
        "skip_broken": cfg.TEST.SKIP_BROKEN,
    }


def build_loader(cfg: CfgNode, split: str) -> VideoLoader:
    """Batches of a split.

    train: the batch plan's videos a step, shuffled anew by `loader.sampler.set_epoch(epoch)`, the
    incomplete last batch left out. val, test: one video a step, in the order of the list.
    """
    dataset = build_dataset(cfg, split)
    train = split == "train"
    videos = batch_plan(cfg).videos if train else 1
    if len(dataset) < videos:
        raise DataError(
            f"{dataset.records.list_file}: the list has {len(dataset)} videos, a step takes "
            f"{videos} (TRAIN.BATCH_SIZE {cfg.TRAIN.BATCH_SIZE}, VIDEO.NUM_CLIPS "
            f"{cfg.VIDEO.NUM_CLIPS}); lower TRAIN.BATCH_SIZE or list more videos"
        )
    return VideoLoader(
        dataset,
        batch_size=videos,
        sampler=EpochSampler(len(dataset), cfg.RNG_SEED) if train else None,
        drop_last=train,
        collate_fn=collate,
        num_workers=cfg.DATA_LOADER.NUM_WORKERS,
        worker_init_fn=_one_thread,
        pin_memory=cfg.DATA_LOADER.PIN_MEMORY and torch.cuda.is_available(),
        persistent_workers=cfg.DATA_LOADER.NUM_WORKERS > 0,
        generator=torch.Generator(),  # or each pass would draw from the model's random numbers
    )


def _one_thread(worker: int) -> None:
    """Workers are the parallelism; threads inside them only take each other's time."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _own_words(error: UserError) -> str:
    """The message as raised: torch puts the worker's traceback before it."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return str(error).rpartition(f"\n{name}: ")[2].rstrip("\n")
