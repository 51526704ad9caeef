"""Testing: every video in all its views, results in OUTPUT_DIR/results."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import simplejson
import torch
from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader

from cmvl.checkpoint import load_weights
from cmvl.data import build_loader
from cmvl.engine.setup import setup
from cmvl.model import VideoModel, build_model
from cmvl.tasks import Evaluator, Task, find_task
from cmvl.utils.logging import logger


@dataclass
class Result:
    """Metrics by name, clip accuracy by temporal position, and the videos left out."""

    metrics: dict[str, float] = field(default_factory=dict)
    by_position: list[float] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def test(cfg: CfgNode) -> Result:
    """Test TEST.CHECKPOINT_FILE_PATH, or the last checkpoint of OUTPUT_DIR."""
    task = find_task(cfg.TASK)
    loader = build_loader(cfg, "test")
    device = setup(cfg, "test")
    model = build_model(cfg, task.head).to(device)
    weights = cfg.TEST.CHECKPOINT_FILE_PATH or cfg.OUTPUT_DIR
    logger.info(load_weights(model, weights, may_miss=()))
    views = f"{cfg.TEST.NUM_ENSEMBLE_VIEWS} clips x {cfg.TEST.NUM_SPATIAL_CROPS} crops"
    logger.info("testing %d videos of %s in %s", len(loader), views, cfg.DATA.PATH_TO_DATA_DIR)
    evaluator, crops = task.evaluator(cfg), cfg.TEST.NUM_SPATIAL_CROPS
    result = evaluate(model, loader, task, evaluator, crops, cfg.TEST.CHUNK, device, cfg.LOG_PERIOD)
    folder = Path(cfg.OUTPUT_DIR) / "results"
    folder.mkdir(exist_ok=True)
    summary = {"weights": str(weights), "views": views, **vars(result)}
    (folder / "summary.json").write_text(simplejson.dumps(summary, indent=2) + "\n")
    logger.info("test  %s", "  ".join(f"{k} {v:.4g}" for k, v in result.metrics.items()))
    if result.skipped:
        logger.warning("left out, unreadable:\n  %s", "\n  ".join(result.skipped))
    return result


def evaluate(
    model: VideoModel,
    loader: DataLoader,
    task: Task,
    evaluator: Evaluator,
    crops: int,
    chunk: int,
    device: torch.device,
    period: int,
) -> Result:
    """Metrics of every readable video of `loader`; each batch is one video in all its views."""
    model.eval()
    skipped, start = [], time.perf_counter()
    for i, batch in enumerate(loader):
        skipped.extend(batch.failures)
        if len(batch.index):
            batch = batch.to(device)
            evaluator.update(task.predict(model, batch, crops, chunk), batch.labels)
        if (i + 1) % (10 * period) == 0:
            left = (time.perf_counter() - start) / (i + 1) * (len(loader) - i - 1)
            logger.info("evaluated %d of %d videos, %d s left", i + 1, len(loader), left)
    return Result(evaluator.compute(), evaluator.by_position(), skipped)
