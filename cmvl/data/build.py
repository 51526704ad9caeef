"""From a config to data sets and loaders of train, val and test."""

from typing import Any

import torch
from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry

from cmvl.config import batch_plan
from cmvl.config.values import value_of
from cmvl.data.augment import build_augment
from cmvl.data.dataset import VideoDataset
from cmvl.data.loader import VideoLoader
from cmvl.data.mixing import build_collate
from cmvl.data.order import EpochSampler
from cmvl.data.transforms import EvalTransform, TrainTransform
from cmvl.utils.distributed import broadcast, rank, who_am_i, world_size
from cmvl.utils.errors import ConfigError, DataError

DATASETS = Registry("DATASETS")


def build_dataset(cfg: CfgNode, split: str) -> VideoDataset:
    """The data set of a split: train, val or test. Raises DataError, and ConfigError where its
    labels are not those of TASK.
    """
    key = "TEST.DATASET" if split == "test" else "TRAIN.DATASET"
    name = value_of(cfg, key)
    dataset = find_dataset(name)
    if cfg.TASK not in dataset.tasks:
        fit = [other for other, kind in DATASETS if cfg.TASK in kind.tasks]
        raise ConfigError(
            f"TASK is {cfg.TASK}, but the labels of {key} {name} are for TASK "
            f"{' or '.join(dataset.tasks)}: set that, or {key} {' or '.join(sorted(fit))}"
        )
    return dataset.from_cfg(cfg, split)


def find_dataset(name: str) -> type[VideoDataset]:
    """The registered class of that name, in whatever letters. Raises DataError."""
    known = {key.lower(): key for key, _ in DATASETS}  # PySlowFast's configs write small letters
    if name.lower() not in known:
        names = ", ".join(sorted(known.values()))
        raise DataError(f"no data set is registered as {name!r}; there are: {names}")
    return DATASETS.get(known[name.lower()])


def build_options(cfg: CfgNode, split: str, rule: str = "span") -> dict[str, Any]:
    """The arguments of `VideoDataset` that do not depend on the annotation.

    `rule`: the data set's own, for DATA.CLIP_RULE auto.
    """
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
        "shuffled": cfg.VIDEO.SHUFFLED,
        "views": cfg.TEST.NUM_ENSEMBLE_VIEWS if split == "test" else cfg.TRAIN.EVAL_VIEWS,
        "seed": cfg.RNG_SEED,
        "max_resamples": cfg.DATA.MAX_RESAMPLES,
        "skip_broken": cfg.TEST.SKIP_BROKEN,
        "augment": build_augment(cfg) if split == "train" else None,
        "backend": cfg.DATA.BACKEND,
        "rule": rule if cfg.DATA.CLIP_RULE == "auto" else cfg.DATA.CLIP_RULE,
    }


def build_loader(cfg: CfgNode, split: str) -> VideoLoader:
    """This process's batches of a split.

    train: the batch plan's videos a pass, shuffled anew by `loader.sampler.set_epoch(epoch)`. val,
    test: one video a batch, in the order of the list; each is in exactly one process.
    """
    dataset = build_dataset(cfg, split)
    _check_alike(dataset)
    videos, sampler = 1, []
    if split == "train":
        plan, ranks = batch_plan(cfg, world_size()), world_size()
        videos = plan.videos
        sampler = EpochSampler(len(dataset), cfg.RNG_SEED, videos, rank(), ranks, plan.passes)
        if not sampler.steps:
            raise DataError(
                f"{dataset.records.list_file}: the list has {len(dataset)} videos, a step takes "
                f"{sampler.step_videos} (TRAIN.BATCH_SIZE {cfg.TRAIN.BATCH_SIZE}, VIDEO.NUM_CLIPS "
                f"{cfg.VIDEO.NUM_CLIPS}); lower TRAIN.BATCH_SIZE or list more videos"
            )
    else:
        sampler = [*map(int, dataset.shard(rank(), world_size()))]  # see `VideoLoader.leave_out`
    return VideoLoader(
        dataset,
        batch_size=videos,
        sampler=sampler,
        collate_fn=build_collate(cfg, split),
        num_workers=cfg.DATA_LOADER.NUM_WORKERS,
        timeout=cfg.DATA_LOADER.TIMEOUT,
        prefetch=cfg.DATA_LOADER.PREFETCH_FACTOR,
        pin_memory=cfg.DATA_LOADER.PIN_MEMORY and torch.cuda.is_available(),
    )


def _check_alike(dataset: VideoDataset) -> None:
    """Raises DataError where the processes have different lists.

    Some videos would be taken twice and others never, or one process would wait for ever.
    """
    if world_size() == 1:
        return
    records = dataset.records
    mine = len(records), records.fingerprint
    (number, fingerprint), first = broadcast((mine, who_am_i()))
    if (number, fingerprint) != mine:
        raise DataError(
            f"{records.list_file} lists other videos for {who_am_i()} ({len(records)}) than for "
            f"{first} ({number}), or in another order: give every machine the same list"
        )
