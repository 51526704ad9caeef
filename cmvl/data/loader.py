"""A loader that says which file it was when a worker dies or hangs."""

import atexit
import resource
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import active_children, get_all_start_methods
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from cmvl.launch.signals import STOP_SIGNALS, as_in_a_worker, held_back
from cmvl.structures import VideoBatch
from cmvl.utils.errors import DataError, UserError

OPEN_FILES = 2**16  # enough for any number of workers
FILES = (
    "loading stopped: too many open files, for each tensor that a data worker hands over is one. "
    "Raise the limit of the system (`ulimit -n 65536`), or lower DATA_LOADER.NUM_WORKERS or "
    "DATA_LOADER.PREFETCH_FACTOR"
)


@contextmanager
def holding(held: Tensor | None, index: int) -> Iterator[None]:
    """Note in `held` that this worker reads video `index`, as long as it does.

    `held` (workers,) int64 is memory that the main process sees: -1 for a worker without a video.
    """
    worker = get_worker_info()
    if held is None or worker is None:
        yield
        return
    held[worker.id] = index
    try:
        yield
    finally:
        held[worker.id] = -1


def start_method() -> str:
    """Of data workers, however this process was started itself, and whatever Python prefers.

    Those that are forked import nothing anew and share the lists with this process.
    """
    return "fork" if sys.platform == "linux" else get_all_start_methods()[0]


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
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # or each pass would draw from the model's random numbers
            **options,
        )

    def __iter__(self) -> Iterator[VideoBatch]:
        try:
            with watched(self):
                yield from super().__iter__()
        except UserError as error:
            raise type(error)(_own_words(error)) from None

    def _get_iterator(self):
        with self._starting_workers():
            iterator = super()._get_iterator()
        for worker in getattr(iterator, "_workers", ()):
            # The last word of torch, and of `multiprocessing` when this process ends, is SIGTERM;
            # workers leave that to the main process, which would wait for them for ever.
            worker._popen.terminate = worker._popen.kill
        _die_quietly()
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

    def kill_workers(self) -> None:
        """One that hangs would not hear anything milder."""
        if not self._workers():
            return
        before = _ignore_deaths()
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


def allow_open_files() -> None:
    """As many as the system lets this process have: each tensor that a worker hands over is one."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


@contextmanager
def watched(*loaders: VideoLoader) -> Iterator[None]:
    """Inside, a worker of `loaders` that dies is a DataError with its file.

    Its death interrupts whatever the main process is doing: a training step as well as the wait
    for a batch.
    """
    try:
        yield
    except RuntimeError as error:
        message = FILES if "Too many open files" in str(error) else _death(error, loaders)
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
    return sharing_advice(blame) or blame


def sharing_advice(said: str) -> str:
    """The mend, if workers found no shared memory left, as their last words tell; else ""."""
    signs = ("allocate shared memory", "out of shared memory", f"exit code {-signal.SIGBUS}")
    if not any(sign in said for sign in signs):
        return ""
    place, size = Path("/dev/shm"), ""
    if place.is_dir():
        size = f" ({place}, {shutil.disk_usage(place).total / 2**20:.0f} MiB)"
    return (
        f"loading stopped: data workers hand over clips in shared memory{size}, and it is full. "
        "Start the container with more (docker run --ipc host, or --shm-size 32g), or take fewer "
        "workers (DATA_LOADER.NUM_WORKERS, --workers) or a lower DATA_LOADER.PREFETCH_FACTOR"
    )


def _ignore_deaths() -> Any:
    """Torch's handler of SIGCHLD, which this returns, raises whatever is going on."""
    return signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _die_quietly() -> None:
    """When this process ends, so do its workers, and nothing is to be said of that.

    A process of a crew has no `atexit`; in the others torch's hooks come before the finalizers.
    """
    atexit.unregister(_ignore_deaths)
    atexit.register(_ignore_deaths)
    Finalize(None, _ignore_deaths, exitpriority=0)


def _start_worker(worker: int) -> None:
    """Workers are the parallelism; threads inside them only take each other's time."""
    as_in_a_worker()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _own_words(error: UserError) -> str:
    """The message as raised: torch puts the worker's traceback before it."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return str(error).rpartition(f"\n{name}: ")[2].rstrip("\n")
