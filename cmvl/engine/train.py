"""Training: one plain loop for every task, strategy and memory."""

from collections.abc import Callable
from pathlib import Path

import torch
from fvcore.common.config import CfgNode
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from cmvl.checkpoint import Checkpointer
from cmvl.config import batch_plan
from cmvl.data import build_loader
from cmvl.engine.freeze import build_frozen, train_mode
from cmvl.engine.optim import build_optimizer, build_schedule, set_lr
from cmvl.engine.setup import setup
from cmvl.engine.test import evaluate
from cmvl.model import VideoModel, build_model
from cmvl.tasks import find_task
from cmvl.utils.logging import RunLog, logger


def train(cfg: CfgNode) -> None:
    """Train as `cfg` says; checkpoints, logs and the effective config go to OUTPUT_DIR."""
    task = find_task(cfg.TASK)
    loader = build_loader(cfg, "train")  # first: missing data is the commonest trouble
    val_loader = build_loader(cfg, "val") if cfg.TRAIN.EVAL_PERIOD else None
    device, plan = setup(cfg, "train"), batch_plan(cfg)
    logger.info("%s; %d steps an epoch", plan, len(loader))

    model = build_model(cfg, task.head).to(device)
    logger.info(build_frozen(cfg, model))
    optimizer, lr_at = build_optimizer(cfg, model), build_schedule(cfg, plan.lr_scale)
    scaler = torch.amp.GradScaler(device.type, enabled=cfg.TRAIN.MIXED_PRECISION)
    loss_fn = task.loss(cfg)
    log = RunLog(Path(cfg.OUTPUT_DIR), cfg.LOG_PERIOD, device)
    names = loader.dataset.class_names
    ckpt = Checkpointer(Path(cfg.OUTPUT_DIR), model, optimizer, scaler, cfg.dump(), names)
    epochs, max_norm = cfg.SOLVER.MAX_EPOCH, cfg.SOLVER.CLIP_GRAD_L2NORM

    for epoch in range(ckpt.start(cfg.TRAIN.AUTO_RESUME, cfg.TRAIN.INIT_FROM), epochs):
        loader.sampler.set_epoch(epoch)
        train_epoch(epoch, epochs, loader, model, loss_fn, optimizer, scaler, lr_at, max_norm, log)
        evaluating = val_loader is not None and _due(epoch, epochs, cfg.TRAIN.EVAL_PERIOD)
        saving = _due(epoch, epochs, cfg.TRAIN.CHECKPOINT_PERIOD)
        if cfg.BN.USE_PRECISE_STATS and (evaluating or saving):
            precise_bn(model, loader, cfg.BN.NUM_BATCHES_PRECISE, device)
        if saving:
            ckpt.save(epoch)
        if evaluating:
            predictor, evaluator = task.predictor(cfg, "val"), task.evaluator(cfg, "val")
            result = evaluate(model, val_loader, predictor, evaluator, device, cfg.LOG_PERIOD)
            log.metrics("val", epoch + 1, result.metrics)


def train_epoch(
    epoch: int,
    epochs: int,
    loader: DataLoader,
    model: VideoModel,
    loss_fn: nn.Module,
    optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    lr_at: Callable[[float], float],
    max_norm: float,
    log: RunLog,
) -> None:
    """One pass over the training videos."""
    train_mode(model)
    steps = len(loader)
    for i, batch in log.timed(loader):
        lr = set_lr(optimizer, lr_at(epoch + i / steps))
        batch = batch.to(log.device)
        with torch.autocast(log.device.type, torch.float16, enabled=scaler.is_enabled()):
            logits = model(batch.clips, batch.boxes)
            loss = loss_fn(logits, *batch.targets)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        if max_norm > 0:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        scaler.step(optimizer)
        scaler.update()
        log.collect(loss=loss, **model.memory.gate_statistics())
        log.broken(batch.failures)
        if log.due(i, steps):
            log.step(epoch, i, steps, epochs, lr=lr)
    log.end_epoch(epoch)


def precise_bn(model: VideoModel, loader: DataLoader, batches: int, device: torch.device) -> None:
    """Re-estimate the backbone's running statistics with fixed weights (fvcore).

    One clip per video, as every group of the clip-wise batch norm sees them.
    """
    from fvcore.nn.precise_bn import update_bn_stats  # warns about torch.jit when imported

    train_mode(model)
    clips = (batch.to(device).clips[:, 0] for batch in loader)
    update_bn_stats(model.backbone, clips, min(batches, len(loader)))


def _due(epoch: int, epochs: int, period: int) -> bool:
    return (epoch + 1) % period == 0 or epoch + 1 == epochs
