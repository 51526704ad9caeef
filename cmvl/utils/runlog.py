"""The numbers of a run: one JSON object a line in log.jsonl, and a stop where a loss is none."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import simplejson
import torch
from torch import Tensor

from cmvl.utils.distributed import gather, is_main, mean_over_ranks, rank, world_size
from cmvl.utils.environment import peak_memory
from cmvl.utils.errors import TrainingError
from cmvl.utils.logging import logger

Item = TypeVar("Item")
LOG = "log.jsonl"
FILE_ONLY = ("steps", "loss_clips", "loss_video")  # a line on the console has an end


@dataclass
class Step:
    """A training step whose line is not written yet."""

    epoch: int
    number: int  # within the epoch, from 1
    videos: list[int]  # this process's, places in the list
    values: dict[str, float | Tensor]


class RunLog:
    """Collects a run's numbers; tensors stay on the device until a line is due.

    A line is due every `period` steps and at an epoch's last one; it holds the means over its
    steps and over all processes. A step whose loss or gradient is no number is written to
    nonfinite.jsonl with its videos (`name_video` of their places in the list); more than `allowed`
    of them stop the run. Only the main process writes, and calls `show` with each line's kind and
    fields.
    """

    def __init__(
        self,
        output_dir: Path,
        period: int,
        device: torch.device,
        allowed: int = 0,
        name_video: Callable[[int], str] = str,
        show: Callable[[str, dict[str, Any]], None] | None = None,
    ):
        self.path, self.trouble = output_dir / LOG, output_dir / "nonfinite.jsonl"
        self.period, self.device = period, device
        self.allowed, self.name_video, self.show = allowed, name_video, show
        self._steps: list[Step] = []
        self._broken: list[str] = []
        self._bad = 0
        self._waited = 0.0
        self._seconds, self._done = 0.0, 0  # of this process, for the time left
        self._line_start, self._line_steps = time.perf_counter(), 0

    def timed(self, loader: Iterable[Item]) -> Iterator[tuple[int, Item]]:
        """Enumerate `loader`, measuring the wait for data."""
        before = self._line_start = time.perf_counter()
        for i, item in enumerate(loader):
            self._waited = time.perf_counter() - before
            yield i, item
            before = time.perf_counter()

    def broken(self, failures: Iterable[str]) -> None:
        """Keep the names of training videos that were replaced, for the epoch's report."""
        self._broken.extend(failures)

    def due(self, number: int, steps: int) -> bool:
        """Is a line due after step `number` of `steps`?"""
        return number % self.period == 0 or number == steps

    def collect(
        self, epoch: int, number: int, videos: Sequence[int] = (), **values: float | Tensor
    ) -> None:
        """Add the numbers of step `number` (from 1) to the next line's means."""
        values["data_s"] = self._waited
        numbers = {k: v.detach() if isinstance(v, Tensor) else v for k, v in values.items()}
        self._steps.append(Step(epoch, number, list(videos), numbers))
        self._line_steps += 1

    def write(self, epoch: int, number: int, steps: int, epochs: int) -> None:
        """The line of step `number`: means since the last line; the learning rate as it is."""
        line = {name: numbers.mean().item() for name, numbers in self._finite().items()}
        line |= {k: v for step in self._steps[-1:] for k, v in step.values.items() if k == "lr"}
        line["step_s"] = self._step_seconds()
        self._steps.clear()
        left = (epochs - epoch) * steps - number
        line["eta_s"] = left * self._seconds / self._done
        line["memory_gb"] = peak_memory(self.device)
        self._line("train", epoch=epoch + 1, step=number, steps=steps, **line)

    def check(self) -> None:
        """Report pending steps without a number and drop them; TrainingError if they are too many.

        To be called before anything is kept for good.
        """
        self._finite()

    def _finite(self) -> dict[str, Tensor]:
        """Pending numbers by name, (steps,) float64: means over processes, steps that count."""
        if not self._steps:
            return {}
        # Those of all steps: a run resumed in another precision has some that the others lack.
        names = [n for n in self._steps[0].values if all(n in s.values for s in self._steps)]
        rows = [self._row(step, names) for step in self._steps]
        table = mean_over_ranks(torch.stack(rows, dim=1)).cpu()
        numbers = dict(zip(names, table, strict=True))
        judged = [numbers[name] for name in ("loss", "grad_norm") if name in numbers]
        good = torch.isfinite(torch.stack(judged)).all(dim=0)
        if not good.all():
            self._report((~good).nonzero().flatten().tolist(), numbers)
        return {name: column[good] for name, column in numbers.items()}

    def _row(self, step: Step, names: Sequence[str]) -> Tensor:
        values = (torch.as_tensor(step.values[n], dtype=torch.float64) for n in names)
        return torch.stack([value.to(self.device) for value in values])

    def _report(self, bad: list[int], numbers: dict[str, Tensor]) -> None:
        videos = gather([self._steps[n].videos for n in bad])  # of every process
        for place, n in enumerate(bad):
            step = self._steps[n]
            row = {"epoch": step.epoch + 1, "step": step.number}
            row |= {k: repr(v[n].item()) for k, v in numbers.items()}
            row["videos"] = [self.name_video(v) for part in videos for v in part[place]]
            if is_main():
                _append(self.trouble, simplejson.dumps(row))
        first, self._bad = self._steps[bad[0]], self._bad + len(bad)
        shown = {k: f"{v[bad[0]].item():.3g}" for k, v in numbers.items()}
        said = (
            f"the loss is {shown['loss']} at epoch {first.epoch + 1}, step {first.number}, with "
            f"learning rate {shown.get('lr')} and gradient norm {shown.get('grad_norm')}; "
            f"{self.trouble} names the videos"
        )
        self._steps = [step for n, step in enumerate(self._steps) if n not in bad]
        if self._bad > self.allowed:
            raise TrainingError(
                f"{said}. Lower SOLVER.BASE_LR, set SOLVER.CLIP_GRAD_L2NORM, or let some such "
                f"steps be skipped (SOLVER.NONFINITE, now {self.allowed})"
            )
        logger.warning("%s; skipped, number %d of %d", said, self._bad, self.allowed)

    def _step_seconds(self) -> float:
        """Mean time of the steps since the last line; also counted into the estimate."""
        now, steps = time.perf_counter(), max(1, self._line_steps)
        passed = now - self._line_start
        self._line_start, self._line_steps = now, 0
        self._seconds, self._done = self._seconds + passed, self._done + steps
        return passed / steps

    def end_epoch(self, epoch: int) -> None:
        """Report the broken videos of an epoch, by name."""
        broken = [name for names in gather(self._broken) for name in names]
        if broken:
            names = sorted(set(broken))
            self._line("broken", epoch=epoch + 1, count=len(broken))
            logger.warning("replaced in training:\n  %s", "\n  ".join(names))
        self._broken.clear()

    def metrics(self, split: str, epoch: int, values: dict[str, float]) -> None:
        self._line(split, epoch=epoch, **values)

    def pending(self) -> dict[str, Any]:
        """What this process has collected for lines not written yet, as plain values."""
        steps = [
            (s.epoch, s.number, s.videos, {k: float(v) for k, v in s.values.items()})
            for s in self._steps
        ]
        return {"steps": steps, "broken": list(self._broken), "bad": self._bad}

    def take_up(self, pending: Sequence[dict[str, Any]]) -> None:
        """Go on with what `pending` gave in every process, as many as they were."""
        mine = pending[rank()] if len(pending) == world_size() else _joined(pending)
        self._steps = [Step(*fields) for fields in mine["steps"]]
        self._broken, self._bad = mine["broken"], mine["bad"]

    def size(self) -> int:
        """Bytes of the log so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def cut(self, size: int) -> None:
        """Take out what came after `size` bytes: steps that a resumed run takes again.

        What is taken out is kept in log.cut.jsonl.
        """
        if is_main() and self.size() > size:
            with self.path.open("r+b") as file:
                file.seek(size)
                with self.path.with_name("log.cut.jsonl").open("ab") as kept:
                    kept.write(file.read())
                file.truncate(size)

    def _line(self, kind: str, **fields: Any) -> None:
        if is_main():
            _append(self.path, simplejson.dumps({"kind": kind, **fields}, ignore_nan=True))
            if self.show:
                self.show(kind, fields)
        shown = (_show(name, fields) for name in fields if name not in FILE_ONLY)
        logger.info("%s  %s", kind, "  ".join(shown))


def write_start(output_dir: Path, job: str, about: Mapping[str, Any]) -> None:
    """The line of a job that begins here, or goes on."""
    if is_main():
        _append(output_dir / LOG, simplejson.dumps({"kind": "start", "job": job, **about}))


def _joined(pending: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The means over processes, to be held by each of another number of them."""
    steps = []
    for parts in zip(*(p["steps"] for p in pending), strict=True):
        epoch, number, _, values = parts[0]
        videos = [video for part in parts for video in part[2]] if is_main() else []
        means = {name: fmean(part[3][name] for part in parts) for name in values}
        steps.append((epoch, number, videos, means))
    broken = [name for p in pending for name in p["broken"]] if is_main() else []
    return {"steps": steps, "broken": broken, "bad": pending[0]["bad"]}


def _append(path: Path, line: str) -> None:
    try:
        with path.open("a") as file:
            file.write(line + "\n")
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be written, {error.strerror}: mend the disk or make room, and start "
            "again; the run goes on after its last checkpoint"
        ) from error


def _show(name: str, fields: dict[str, Any]) -> str:
    value = fields[name]
    if name == "step":
        return f"step {value}/{fields['steps']}"
    if name == "eta_s":
        return f"eta {int(value) // 3600}:{int(value) // 60 % 60:02d}:{int(value) % 60:02d}"
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
