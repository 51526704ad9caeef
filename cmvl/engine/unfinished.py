"""A test that was cut short goes on where it was: what it has done is kept until it ends."""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from pickle import UnpicklingError
from secrets import token_hex
from typing import Any

import simplejson
import torch
from fvcore.common.config import CfgNode
from torch.serialization import safe_globals

from cmvl.config.compare import settings_of_test
from cmvl.data.loader import VideoLoader
from cmvl.launch.signals import StopRequest
from cmvl.structures import KeyFrame, Prediction
from cmvl.utils.distributed import broadcast, is_main
from cmvl.utils.errors import UserError
from cmvl.utils.files import whole, write_text
from cmvl.utils.logging import logger

FOLDER, WHAT = "unfinished_test", "test.json"
PACKAGE = Path(__file__).parent.parent
# Of the package, what scores are made by; a mistake mended elsewhere does not begin a test anew.
SCORING = ("backbones", "data", "layers", "memory", "encode", "heads", "inference", "model")


class Unfinished:
    """`before`: predictions of an earlier start, on the main process. `unit(index)`: the number of
    what is tested in one go (`VideoDataset.unit`); of one that is not through nothing is kept.
    """

    def __init__(
        self,
        folder: Path,
        unit: Callable[[int], int],
        stop: StopRequest,
        minutes: float,
        before: list[Prediction],
        skipped: dict[int, str],
    ):
        """`minutes` between two writes; 0: only when the test is cut short. `skipped`: what is
        said of items that could not be read, by index; more come into it.
        """
        self.folder, self.unit, self.stop, self.seconds = folder, unit, stop, 60 * minutes
        self.before, self.skipped = before, skipped
        self._written, self._able = time.monotonic(), True
        self._open: list[Prediction] = []  # of the unit at hand
        self._through: list[Prediction] = []

    def keeping(self, predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        """`predictions` as they come, by units; written now and then, and where they break off."""
        whole_way = False
        try:
            for prediction in predictions:
                kept = prediction._replace(scores=prediction.scores.cpu())  # not to fill the GPU
                self._take(kept)
                yield kept
            whole_way = not self.stop
        finally:
            # Others may still fail: what took long is written though it has come to its end.
            if not whole_way or self._is_older(self.seconds / 10):
                self._write()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _take(self, prediction: Prediction) -> None:
        if self._open and self.unit(self._open[0].index) != self.unit(prediction.index):
            self._through += self._open
            self._open = []
            if self._is_older(self.seconds):
                self._write()
        self._open.append(prediction)

    def _is_older(self, seconds: float) -> bool:
        return 0 < seconds <= time.monotonic() - self._written

    def _write(self) -> None:
        """In a file of its own, whatever other processes and starts have written."""
        if not self._through or not self._able:
            return
        units = {self.unit(p.index) for p in self._through}
        skipped = {i: said for i, said in self.skipped.items() if self.unit(i) in units}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole(self.folder / f"{token_hex(8)}.pt") as part:
                torch.save({"predictions": self._through, "skipped": skipped}, part)
        except (OSError, RuntimeError, UserError) as error:  # a full disk is no reason to end here
            self._able = False
            logger.warning(
                "what is tested from here on would be lost if the test were cut short: %s", error
            )
            return
        self._through, self._written = [], time.monotonic()


def find_unfinished(
    cfg: CfgNode, weights: Path, loader: VideoLoader, stop: StopRequest
) -> Unfinished:
    """What an earlier start of this test has left, if it did; `loader` leaves that out."""
    folder, unit = Path(cfg.OUTPUT_DIR) / FOLDER, loader.dataset.unit
    before, skipped = [], {}
    if is_main():
        before, skipped = _read(folder, _what(cfg, weights, loader))
    done = broadcast({unit(p.index) for p in before})
    loader.leave_out(done)
    if done:
        logger.info("the test goes on: %d videos were tested before it was cut short", len(done))
    return Unfinished(folder, unit, stop, cfg.TRAIN.CHECKPOINT_MINUTES, before, skipped)


def _what(cfg: CfgNode, weights: Path, loader: VideoLoader) -> dict[str, Any]:
    """All that scores depend on."""
    found = weights.stat()
    file = {"file": str(weights.resolve()), "bytes": found.st_size, "written": found.st_mtime_ns}
    data = {"list": loader.dataset.records.fingerprint}
    code = {"cmvl": _fingerprint(PACKAGE), "torch": torch.__version__}
    return {**settings_of_test(cfg), "weights": file, "data": data, "code": code}


def _fingerprint(package: Path) -> str:
    """Of the source of what makes scores, which a researcher may be changing."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).with_suffix("")
        if place.parts[0] in SCORING:
            digest.update(f"{place}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _read(folder: Path, what: dict[str, Any]) -> tuple[list[Prediction], dict[int, str]]:
    """Predictions of this very test, and what was skipped; another test's are removed."""
    description, files = folder / WHAT, sorted(folder.glob("*.pt"))
    if files and (others := _others(description, what)):
        logger.info(
            "%s is of a test of other weights, data, settings or code (%s): removed",
            folder, ", ".join(others),
        )  # fmt: skip
        shutil.rmtree(folder)
        files = []
    parts = [part for path in files if (part := _part(path))]
    write_text(description, simplejson.dumps(what, indent=2, sort_keys=True) + "\n")
    before = {p.index: p for part in parts for p in part["predictions"]}
    skipped = {index: said for part in parts for index, said in part["skipped"].items()}
    return list(before.values()), skipped


def _others(description: Path, what: dict[str, Any]) -> list[str]:
    """The keys in which the test that is described is another one."""
    try:
        there = simplejson.loads(description.read_text("utf-8"))
    except (OSError, ValueError):
        return [f"{description.name} cannot be read"]
    return sorted(key for key in {*what, *there} if there.get(key) != what.get(key))


def _part(path: Path) -> dict[str, Any]:
    try:
        with safe_globals([Prediction, KeyFrame]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        logger.warning("%s cannot be read, its videos are tested again: %s", path, error)
        return {}
