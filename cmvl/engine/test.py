"""Testing: every video in all its views, results in OUTPUT_DIR/results."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import simplejson
import torch
from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader

from cmvl.checkpoint import load_weights
from cmvl.data import build_loader
from cmvl.engine.setup import setup
from cmvl.evaluation.results import Listing
from cmvl.inference import Predictor
from cmvl.model import VideoModel, build_model
from cmvl.structures import VideoBatch
from cmvl.tasks import Evaluator, find_task
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
    logger.info("testing %s", loader.dataset)
    predictor, evaluator = task.predictor(cfg, "test"), task.evaluator(cfg, "test")
    result = evaluate(model, loader, predictor, evaluator, device, cfg.LOG_PERIOD)
    folder = Path(cfg.OUTPUT_DIR) / "results"
    folder.mkdir(exist_ok=True)
    summary = {"weights": str(weights), "data": str(loader.dataset), **vars(result)}
    (folder / "summary.json").write_text(simplejson.dumps(summary, indent=2) + "\n")
    logger.info("test  %s", "  ".join(f"{k} {v:.4g}" for k, v in result.metrics.items()))
    listing = Listing(loader.dataset.records.path, loader.dataset.class_names)
    if remarks := evaluator.save(folder, listing):
        logger.info(remarks)
    if result.skipped:
        logger.warning("left out, unreadable:\n  %s", "\n  ".join(result.skipped))
    return result


def evaluate(
    model: VideoModel,
    loader: DataLoader,
    predictor: Predictor,
    evaluator: Evaluator,
    device: torch.device,
    period: int,
) -> Result:
    """Metrics of everything readable in `loader`."""
    model.eval()
    skipped: list[str] = []
    for prediction in predictor(model, _readable(loader, device, period, skipped)):
        evaluator.update(*prediction)
    return Result(evaluator.compute(), evaluator.by_position(), skipped)


def _readable(
    loader: DataLoader, device: torch.device, period: int, skipped: list[str]
) -> Iterator[VideoBatch]:
    """The batches that could be read, on `device`; what could not goes to `skipped`."""
    start = time.perf_counter()
    for i, batch in enumerate(loader):
        skipped.extend(batch.failures)
        if len(batch.index):
            yield batch.to(device)
        if (i + 1) % (10 * period) == 0:
            left = (time.perf_counter() - start) / (i + 1) * (len(loader) - i - 1)
            logger.info("evaluated %d of %d, %d s left", i + 1, len(loader), left)
