"""Testing: every video in all its views, results in OUTPUT_DIR/results."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import simplejson
import torch
from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader

from cmvl.checkpoint import fill, find_last, read_weights
from cmvl.config.compare import compare_net
from cmvl.data import build_loader
from cmvl.data.loader import watched
from cmvl.engine.board import build_board
from cmvl.engine.keeper import leave
from cmvl.engine.precision import Precision, build_precision
from cmvl.engine.setup import record_start, setup
from cmvl.engine.trouble import view_memory_advice
from cmvl.engine.unfinished import Unfinished, find_unfinished
from cmvl.evaluation.positions import plot_positions
from cmvl.evaluation.results import Listing
from cmvl.inference import Predictor
from cmvl.launch.signals import StopRequest, stop_requests
from cmvl.model import VideoModel, build_model
from cmvl.structures import Prediction, VideoBatch
from cmvl.tasks import Evaluator, find_task
from cmvl.utils.distributed import (
    broadcast,
    gather,
    highest,
    is_main,
    share_buffers,
    world_size,
)
from cmvl.utils.files import write_text
from cmvl.utils.logging import logger
from cmvl.utils.progress import progress


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
    weights = _choose_weights(cfg)
    _load(model, weights, cfg)
    record_start(cfg, "test", loader.dataset, device)
    logger.info("testing %s", loader.dataset)
    predictor, evaluator = task.predictor(cfg, "test"), task.evaluator(cfg, "test")
    precision = build_precision(cfg.TEST.PRECISION, device)
    with stop_requests() as stop, view_memory_advice(cfg, device), watched(loader):
        unfinished = find_unfinished(cfg, weights, loader, stop)
        result = evaluate(model, loader, predictor, evaluator, precision, stop, unfinished)
    if is_main():
        summary = {"weights": str(weights), "data": str(loader.dataset), **vars(result)}
        listing = Listing(loader.dataset.records.path, loader.dataset.class_names)
        results = Path(cfg.OUTPUT_DIR) / "results"
        _write_results(results, summary, evaluator, listing)
        unfinished.remove()
        build_board(cfg).results(results, result.metrics)
        logger.info("test  %s", "  ".join(f"{k} {v:.4g}" for k, v in result.metrics.items()))
    if result.skipped:
        logger.warning("left out, unreadable:\n  %s", "\n  ".join(result.skipped))
    return result


def _choose_weights(cfg: CfgNode) -> Path:
    """Chosen by the main process, which may just have written them, for all."""
    named = Path(cfg.TEST.CHECKPOINT_FILE_PATH or cfg.OUTPUT_DIR)
    found = find_last(named) if is_main() and named.is_dir() else named
    return Path(broadcast(str(found)))


def _load(model: VideoModel, path: Path, cfg: CfgNode) -> None:
    weights = read_weights(path)
    logger.info(fill(model, weights, may_miss=()))
    if remark := compare_net(weights.own_cfg, cfg):
        logger.warning(remark)


def _write_results(folder: Path, summary: dict, evaluator: Evaluator, listing: Listing) -> None:
    """The summary last and at once: where there is one, all the rest is there and of this test."""
    folder.mkdir(exist_ok=True)
    path = folder / "summary.json"
    path.unlink(missing_ok=True)
    if positions := summary["by_position"]:
        curve, what = {folder.resolve().parent.name: [positions]}, next(iter(summary["metrics"]))
        plot_positions(curve, f"clip {what} (%)").savefig(folder / "by_position.png")
    if remarks := evaluator.save(folder, listing):
        logger.info(remarks)
    write_text(path, simplejson.dumps(summary, indent=2) + "\n")


def evaluate(
    model: VideoModel,
    loader: DataLoader,
    predictor: Predictor,
    evaluator: Evaluator,
    precision: Precision,
    stop: StopRequest | None = None,
    unfinished: Unfinished | None = None,
) -> Result:
    """Metrics of everything readable in `loader`, over all processes; the main one has them.

    `unfinished`: what of this test was done before, and keeps what is done now.
    """
    share_buffers(model)
    model.eval()
    before, skipped = (unfinished.before, unfinished.skipped) if unfinished else ([], {})
    batches = _readable(loader, precision.device, skipped, stop)
    with precision.autocast():
        predictions = predictor(model, batches)
        if unfinished:
            predictions = unfinished.keeping(predictions)
        for prediction in _everybodys(predictions, before):
            evaluator.update(*prediction)
    skipped = dict(chain.from_iterable(part.items() for part in gather(skipped)))
    if stop is not None and highest(int(bool(stop))):
        leave(stop)  # together: who has done its share waits for the others
    if not is_main():
        return Result()
    told = [skipped[index] for index in sorted(skipped)]
    return Result(evaluator.compute(), evaluator.by_position(), told)


def _everybodys(mine: Iterator[Prediction], before: list[Prediction]) -> Iterable[Prediction]:
    """All processes' predictions on the main one, and those `before`, in the order of the list;
    alone, as they come.
    """
    if world_size() == 1 and not before:
        return mine
    together = gather([p._replace(scores=p.scores.cpu()) for p in mine])
    return sorted(chain(before, *together), key=lambda p: p.index)


def _readable(
    loader: DataLoader,
    device: torch.device,
    skipped: dict[int, str],
    stop: StopRequest | None,
) -> Iterator[VideoBatch]:
    """The batches that could be read, on `device`; what could not goes to `skipped`."""
    batches = progress(loader, len(loader), "evaluating", "step", say=logger.info)
    for batch in batches:
        if stop:
            return
        skipped.update(zip(batch.lost, batch.failures, strict=True))
        if len(batch.index):
            yield batch.to(device)
