"""A step in a process of its own, as a run has: what others leave of a heap decides its cost."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import torch

from cmvl.benchmarks.step import Cost, Step, Work, cost_of, our_step
from cmvl.utils.environment import peak_memory
from cmvl.utils.errors import LaunchError

_held: list[tuple[Step, torch.device, float]] = []  # in its process; GiB: the peak without it


class StepApart:
    """A context, at whose end the process ends; on a CPU the step is of one thread.

    `environment`: variables of the process that differ from this one's.
    """

    def __init__(
        self,
        make: Callable[..., Step],
        work: Work,
        changes: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ):
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        with _environment(environment or {}):  # a process has it from its start
            self._process.submit(_hold, make, work, changes).result()
        self.mib = 0.0  # that the steps so far have added to the built model

    def take(self) -> Cost:
        try:
            cost, self.mib = self._process.submit(_take).result()
        except BrokenExecutor as error:
            raise LaunchError(
                "the process of a step was killed, most likely for want of memory: all rows are "
                "there at once, so choose fewer --cells or --ways, or lower --videos"
            ) from error
        return cost

    def __enter__(self) -> "StepApart":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.shutdown()


def added_mib(work: Work, changes: Sequence[str] = ()) -> float:
    """MiB that a first step adds to the built model: a process's peak never falls."""
    with StepApart(our_step, work, changes) as step:
        step.take()
        return step.mib


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in changes:
            os.environ.pop(name)
        os.environ.update(before)


def _hold(make: Callable[..., Step], work: Work, changes: Sequence[str]) -> None:
    torch.set_num_threads(1)
    step = make(work, changes)
    _held.append((step, work.device, peak_memory(work.device)))


def _take() -> tuple[Cost, float]:
    [(step, device, before)] = _held
    cost = cost_of(step, device)
    return cost, round(1024 * (peak_memory(device) - before), 1)
