"""What a run says: console lines, one JSON object a line in log.jsonl, and a stop at NaN."""

import logging
import math
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import simplejson
import torch
from torch import Tensor

from cmvl.utils.errors import TrainingError

Item = TypeVar("Item")
logger = logging.getLogger("cmvl")


def setup_logging(output_dir: Path) -> None:
    """Send the "cmvl" logger to the console and to OUTPUT_DIR/stdout.log."""
    output_dir.mkdir(parents=True, exist_ok=True)
    for handler in logger.handlers:
        handler.close()
    handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(output_dir / "stdout.log")]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", "%m/%d %H:%M:%S"))
    logger.handlers, logger.propagate = handlers, False
    logger.setLevel(logging.INFO)


class RunLog:
    """Collects a run's numbers; tensors stay on the device until a line is due.

    A line is due every `period` steps and at an epoch's last one.
    """

    def __init__(self, output_dir: Path, period: int, device: torch.device):
        self.path = output_dir / "log.jsonl"
        self.period, self.device = period, device
        self._since: dict[str, list[float | Tensor]] = defaultdict(list)
        self._seconds, self._steps = 0.0, 0  # of this process so far
        self._line_start = time.perf_counter()
        self._broken: list[str] = []

    def timed(self, loader: Iterable[Item]) -> Iterator[tuple[int, Item]]:
        """Enumerate `loader`, measuring the wait for data."""
        before = self._line_start = time.perf_counter()
        for i, item in enumerate(loader):
            self._since["data_s"].append(time.perf_counter() - before)
            yield i, item
            before = time.perf_counter()

    def broken(self, failures: Iterable[str]) -> None:
        """Keep the names of training videos that were replaced, for the epoch's report."""
        self._broken.extend(failures)

    def due(self, i: int, steps: int) -> bool:
        """Is a line due after step i of `steps`?"""
        return (i + 1) % self.period == 0 or i + 1 == steps

    def collect(self, **values: float | Tensor) -> None:
        """Add one step's numbers to the next line's means."""
        for name, value in values.items():
            self._since[name].append(value.detach() if isinstance(value, Tensor) else value)

    def step(self, epoch: int, i: int, steps: int, epochs: int, **values: float) -> None:
        """Write the line of step i: means since the last line, and `values` as they are."""
        line = {name: _mean(numbers) for name, numbers in self._since.items()} | values
        line["step_s"] = self._step_seconds(len(self._since["data_s"]))
        self._since.clear()
        left = (epochs - epoch) * steps - i - 1
        line["eta_s"] = left * self._seconds / self._steps
        line["memory_gb"] = _peak_memory(self.device)
        self._write("train", epoch=epoch + 1, step=i + 1, steps=steps, **line)
        if not math.isfinite(line["loss"]):
            raise TrainingError(
                f"the loss is {line['loss']} at epoch {epoch + 1}, step {i + 1}, with learning "
                f"rate {line['lr']:.3g}: lower SOLVER.BASE_LR or set SOLVER.CLIP_GRAD_L2NORM"
            )

    def _step_seconds(self, steps: int) -> float:
        """Mean time of the steps since the last line; also counted into the estimate."""
        now = time.perf_counter()
        passed, self._line_start = now - self._line_start, now
        self._seconds, self._steps = self._seconds + passed, self._steps + steps
        return passed / steps

    def end_epoch(self, epoch: int) -> None:
        """Report the broken videos of an epoch, by name."""
        if self._broken:
            names = sorted(set(self._broken))
            self._write("broken", epoch=epoch + 1, count=len(self._broken))
            logger.warning("replaced in training:\n  %s", "\n  ".join(names))
        self._broken.clear()

    def metrics(self, split: str, epoch: int, values: dict[str, float]) -> None:
        self._write(split, epoch=epoch, **values)

    def _write(self, kind: str, **fields: Any) -> None:
        with self.path.open("a") as file:
            file.write(simplejson.dumps({"kind": kind, **fields}, ignore_nan=True) + "\n")
        logger.info("%s  %s", kind, "  ".join(_show(k, v) for k, v in fields.items()))


def _mean(numbers: list[float | Tensor]) -> float:
    return (
        torch.stack([torch.as_tensor(n, dtype=torch.float64).cpu() for n in numbers]).mean().item()
    )


def _show(name: str, value: Any) -> str:
    if name == "eta_s":
        return f"eta {int(value) // 3600}:{int(value) // 60 % 60:02d}:{int(value) % 60:02d}"
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def _peak_memory(device: torch.device) -> float:
    """Peak GiB: of the device's tensors on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
