"""A loader that says which file it was when a worker dies or hangs."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.process import BaseProcess

import torch
from torch.utils.data import DataLoader, Dataset

from cmvl.data.workers import (
    FILES,
    TOO_MANY_FILES,
    allow_open_files,
    die_quietly,
    ignore_deaths,
    room_advice,
    start_method,
    start_worker,
)
from cmvl.launch.signals import STOP_SIGNALS, held_back
from cmvl.structures import VideoBatch
from cmvl.utils.errors import DataError, UserError


class VideoLoader(DataLoader):
    """A DataLoader of videos.

    A worker's UserError is handed on in its own words, without its traceback. A worker that dies,
    or from which nothing comes for `timeout` seconds, ends the pass with a DataError that names
    the file it held.
    """

    def __init__(
        self, dataset: Dataset, num_workers: int, timeout: float, prefetch: int, **options
    ):
        if num_workers:
            allow_open_files()
            dataset.held = torch.full((num_workers,), -1).share_memory_()
            options |= {"timeout": timeout, "prefetch_factor": prefetch}
            options["multiprocessing_context"] = start_method()
        super().__init__(
            dataset,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            worker_init_fn=start_worker,
            generator=torch.Generator(),  # or each pass would draw from the model's random numbers
            **options,
        )

    def __iter__(self) -> Iterator[VideoBatch]:
        try:
            with watched(self):
                yield from self._batches()
        except UserError as error:
            raise type(error)(_own_words(error)) from None

    def _batches(self) -> Iterator[VideoBatch]:
        try:
            yield from super().__iter__()
        except (EOFError, ConnectionError) as error:
            if not self.num_workers or "DataLoader worker" in str(error):
                raise  # the data set's own
            # Tensors are fetched from their worker: it has gone, or could not hand them over.
            if self._loses_a_worker():
                raise RuntimeError("DataLoader worker left with what it had read") from error
            raise RuntimeError(TOO_MANY_FILES) from error

    def _get_iterator(self):
        with self._starting_workers():
            iterator = super()._get_iterator()
        for worker in getattr(iterator, "_workers", ()):
            # The last word of torch, and of `multiprocessing` when this process ends, is SIGTERM;
            # workers leave that to the main process, which would wait for them for ever.
            worker._popen.terminate = worker._popen.kill
        die_quietly()
        return iterator

    @contextmanager
    def _starting_workers(self) -> Iterator[None]:
        """A failure inside ends those that have started: the process would wait for them for ever.

        Raises DataError where the system has no room for more.
        """
        others = active_children()
        try:
            with held_back(STOP_SIGNALS):  # before a worker is deaf to them, they would end it
                yield
        except BaseException as error:  # Ctrl-C too
            started = [child for child in active_children() if child not in others]
            for worker in started:
                worker.kill()
            if isinstance(error, OSError):
                raise DataError(
                    f"worker {len(started) + 1} of {self.num_workers} could not be started "
                    f"({error.strerror}): lower DATA_LOADER.NUM_WORKERS, or raise what the system "
                    "allows of processes, open files and memory"
                ) from error
            raise

    def leave_out(self, units: set[int]) -> None:
        """Before the first pass of a test: of `dataset.unit`s all but these are read."""
        self.sampler[:] = [i for i in self.sampler if self.dataset.unit(i) not in units]

    def has_lost_a_worker(self) -> bool:
        return any(not worker.is_alive() for worker in self._workers())

    def _loses_a_worker(self, seconds: float = 1.0) -> bool:
        """What it was connected to closes a moment before it is gone."""
        end = time.monotonic() + seconds
        while not self.has_lost_a_worker() and time.monotonic() < end:
            time.sleep(0.01)
        return self.has_lost_a_worker()

    def kill_workers(self) -> None:
        """One that hangs would not hear anything milder."""
        if not self._workers():
            return
        before = ignore_deaths()
        for worker in self._workers():
            worker.kill()
        self._iterator._shutdown_workers()
        self._iterator = None
        signal.signal(signal.SIGCHLD, before)

    def _workers(self) -> list[BaseProcess]:
        return self._iterator._workers if self.num_workers and self._iterator else []

    def accusation(self, reason: str) -> str:
        """Which workers held which files, the dead ones first."""
        records, lines = self.dataset.records, []
        for i, worker in sorted(enumerate(self._workers()), key=lambda pair: pair[1].is_alive()):
            index = int(self.dataset.held[i])
            held = records.where(index) if index >= 0 else "no file"
            if index >= 0 and hasattr(records, "path"):
                held = f"{records.path(index)} ({held})"
            state = "is at" if worker.is_alive() else f"died (exit code {worker.exitcode}) at"
            lines.append(f"  worker {i}, process {worker.pid}, {state} {held}")
        hint = (
            "Exit code -9 is most often the system short of memory: lower DATA_LOADER.NUM_WORKERS "
            "or DATA_LOADER.PREFETCH_FACTOR. "
            f"For slow disks raise DATA_LOADER.TIMEOUT (it is {self.timeout:g} s). "
            "`python tools/check_data.py` finds files that cannot be read."
        )
        return "\n".join([f"loading stopped: {reason}", *lines, hint])


@contextmanager
def watched(*loaders: VideoLoader) -> Iterator[None]:
    """Inside, a worker of `loaders` that dies is a DataError with its file.

    Its death interrupts whatever the main process is doing: a training step as well as the wait
    for a batch.
    """
    try:
        yield
    except RuntimeError as error:
        message = FILES if TOO_MANY_FILES in str(error) else _death(error, loaders)
        if not message:
            raise
        for loader in loaders:
            loader.kill_workers()
        raise DataError(message) from error


def _death(error: RuntimeError, loaders: Sequence[VideoLoader]) -> str:
    """Which worker died, if the error came of that; else ""."""
    cause: BaseException | None = error
    while cause and "DataLoader" not in str(cause):
        cause = cause.__context__  # what it interrupts may fail for it, as a write of torch's
    if not cause:
        return ""
    guilty = [loader for loader in loaders if loader.has_lost_a_worker()] or loaders
    blame = "\n".join(loader.accusation(str(cause)) for loader in guilty)
    return room_advice(blame) or blame


def _own_words(error: UserError) -> str:
    """The message as raised: torch puts the worker's traceback before it."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return str(error).rpartition(f"\n{name}: ")[2].rstrip("\n")
