"""Training: one plain loop for every task, strategy and memory."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch
from fvcore.common.config import CfgNode

from cmvl.checkpoint import Checkpointer, Position
from cmvl.config import batch_plan, check_training
from cmvl.data import build_dataset, build_loader
from cmvl.data.loader import VideoLoader, watched
from cmvl.engine.board import build_board
from cmvl.engine.claim import claimed
from cmvl.engine.fast import build_fast
from cmvl.engine.freeze import build_frozen, train_mode
from cmvl.engine.keeper import Keeper
from cmvl.engine.optim import build_optimizer, build_schedule
from cmvl.engine.precise import precise_bn
from cmvl.engine.setup import begin, record_start, setup, setup_own_numbers
from cmvl.engine.step import Stepper, build_stepper
from cmvl.engine.test import evaluate
from cmvl.engine.trouble import memory_advice
from cmvl.launch.signals import StopRequest, stop_requests
from cmvl.model import build_model
from cmvl.structures import VideoBatch
from cmvl.tasks import find_task
from cmvl.utils.distributed import world_size
from cmvl.utils.logging import logger
from cmvl.utils.progress import progress, silent
from cmvl.utils.runlog import RunLog


def train(cfg: CfgNode) -> None:
    """Train as `cfg` says; checkpoints, logs and the effective config go to OUTPUT_DIR."""
    check_training(cfg, world_size())
    task = find_task(cfg.TASK)
    loader, val_loader = _build_loaders(cfg)  # first: missing data is the commonest trouble
    device, plan = setup(cfg, "train"), batch_plan(cfg, world_size())
    logger.info("%s; %d steps an epoch", plan, loader.sampler.steps)

    model = build_model(cfg, task.head).to(device)
    logger.info(build_frozen(cfg, model))
    build_fast(cfg, model)
    optimizer, lr_at = build_optimizer(cfg, model), build_schedule(cfg, plan.lr_scale)
    step = build_stepper(cfg, model, optimizer, task.loss(cfg), device)
    board = build_board(cfg, loader.sampler.steps)
    log = RunLog(
        Path(cfg.OUTPUT_DIR), cfg.LOG_PERIOD, device, cfg.SOLVER.NONFINITE,
        loader.dataset.records.where, board.line,
    )  # fmt: skip
    ckpt = Checkpointer(
        Path(cfg.OUTPUT_DIR), model, optimizer, step.scaler, log, cfg.dump(),
        loader.dataset.class_names, cfg.TRAIN.CHECKPOINT_KEEP, loader.dataset.records.fingerprint,
    )  # fmt: skip
    setup_own_numbers(cfg)
    loaders = [loader] if val_loader is None else [loader, val_loader]
    with _guarded(cfg, device, loaders) as stop:
        keeper = Keeper(ckpt, log, stop, cfg.TRAIN.CHECKPOINT_MINUTES)
        start, epochs = begin(cfg, ckpt), cfg.SOLVER.MAX_EPOCH
        if start.epoch >= epochs:
            return
        record_start(cfg, "train", loader.dataset, device)  # a resumed log has been cut by now
        if start == Position():
            board.clips(loader.dataset)
        for epoch in range(start.epoch, epochs):
            loader.sampler.set_epoch(epoch, start.videos if epoch == start.epoch else 0)
            train_epoch(epoch, epochs, loader, step, lr_at, log, keeper)
            board.model(model, epoch + 1)
            evaluating = val_loader is not None and _due(epoch, epochs, cfg.TRAIN.EVAL_PERIOD)
            if evaluating:
                keeper.before_evaluation(Position(epoch, loader.sampler.end()))
            saving = _due(epoch, epochs, cfg.TRAIN.CHECKPOINT_PERIOD)
            if cfg.BN.USE_PRECISE_STATS and (evaluating or saving):
                logger.info(precise_bn(model, loader, epoch, cfg.BN.NUM_BATCHES_PRECISE, device))
            metrics = {}
            if evaluating:
                predictor, evaluator = task.predictor(cfg, "val"), task.evaluator(cfg, "val")
                result = evaluate(model, val_loader, predictor, evaluator, step.precision, stop)
                metrics = result.metrics
                log.metrics("val", epoch + 1, metrics)
            keeper.end_epoch(epoch + 1, saving, metrics)


def _build_loaders(cfg: CfgNode) -> tuple[VideoLoader, VideoLoader | None]:
    """Of training and validation; what evaluations lack is told now, not in hours or days."""
    loader = build_loader(cfg, "train")
    val_loader = build_loader(cfg, "val") if cfg.TRAIN.EVAL_PERIOD else None
    evaluated = [val_loader.dataset] if val_loader else []
    evaluated += [build_dataset(cfg, "test")] if cfg.TEST.ENABLE else []
    for dataset in evaluated:
        dataset.check_there()
    if val_loader or cfg.TEST.ENABLE:  # once: AVA's takes seconds, and both have the same truth
        find_task(cfg.TASK).evaluator(cfg, "val" if val_loader else "test")
    return loader, val_loader


@contextmanager
def _guarded(
    cfg: CfgNode, device: torch.device, loaders: list[VideoLoader]
) -> Iterator[StopRequest]:
    """The folder is this run's alone, signals ask to stop, troubles are told with their mend."""
    with claimed(Path(cfg.OUTPUT_DIR)), stop_requests() as stop, memory_advice(cfg, device):
        with watched(*loaders):
            yield stop


def train_epoch(
    epoch: int,
    epochs: int,
    loader: VideoLoader,
    step: Stepper,
    lr_at: Callable[[float], float],
    log: RunLog,
    keeper: Keeper,
) -> None:
    """One pass over the training videos, or what is left of it."""
    train_mode(step.model)
    order = loader.sampler
    whole = order.steps * order.step_videos
    before = -(-order.start // order.step_videos)  # steps
    steps = before + order.steps_left()
    groups, what = _grouped(loader, order.passes), f"epoch {epoch + 1} of {epochs}"
    data = log.timed(progress(groups, steps, what, "step", before, silent))
    for i, batches in keeper.between(data, lambda i: Position(epoch, order.place(i))):
        number = before + i + 1
        values = step(batches, lr_at(epoch + order.place(i) / whole))
        log.collect(epoch, number, [v for b in batches for v in b.index.tolist()], **values)
        log.broken(message for batch in batches for message in batch.failures)
        if log.due(number, steps):
            log.write(epoch, number, steps, epochs)
    log.end_epoch(epoch)


def _grouped(batches: Iterable[VideoBatch], passes: int) -> Iterator[list[VideoBatch]]:
    """The batches of a step together."""
    batches = iter(batches)
    while group := list(islice(batches, passes)):
        yield group


def _due(epoch: int, epochs: int, period: int) -> bool:
    return (epoch + 1) % period == 0 or epoch + 1 == epochs
