"""The processes that decode videos: how they start, what they hold, and how their ends are told."""

import atexit
import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EMFILE, ENOSPC
from multiprocessing import get_all_start_methods
from multiprocessing.queues import Queue
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from cmvl.launch.signals import as_in_a_worker

OPEN_FILES = 2**16  # enough for any number of workers
TOO_MANY_FILES = "Too many open files"  # the system's words
FILES = (
    "loading stopped: too many open files, for each tensor that a data worker hands over is one. "
    "Raise the limit of the system (`ulimit -n 65536`), or lower DATA_LOADER.NUM_WORKERS or "
    "DATA_LOADER.PREFETCH_FACTOR"
)
# What workers say, or end with, that find no shared memory left.
SHORT = (
    "allocate shared memory",
    "out of shared memory",
    f"exit code {-signal.SIGBUS})",
    f"exit code {ENOSPC})",
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


def start_worker(worker: int) -> None:
    """Workers are the parallelism; threads inside them only take each other's time."""
    as_in_a_worker()
    Queue._on_queue_feeder_error = staticmethod(_cannot_hand_over)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _cannot_hand_over(error: Exception, _: object) -> None:
    """Of the thread that sends a worker's batches: one is lost, and the main process would wait
    for it. So the worker ends.
    """
    said = str(error)
    if TOO_MANY_FILES not in said:
        traceback.print_exception(error)
    short = any(sign in said for sign in SHORT)
    os._exit(EMFILE if TOO_MANY_FILES in said else ENOSPC if short else 1)


def allow_open_files() -> None:
    """As many as the system lets this process have: each tensor that a worker hands over is one."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def room_advice(said: str) -> str:
    """The mend, if workers had no room to hand over clips, as their last words tell; else ""."""
    if f"exit code {EMFILE})" in said:
        return FILES
    if not any(sign in said for sign in SHORT):
        return ""
    place, size = Path("/dev/shm"), ""
    if place.is_dir():
        size = f" ({place}, {shutil.disk_usage(place).total / 2**20:.0f} MiB)"
    return (
        f"loading stopped: data workers hand over clips in shared memory{size}, and it is full. "
        "Start the container with more (docker run --ipc host, or --shm-size 32g), or take fewer "
        "workers (DATA_LOADER.NUM_WORKERS, --workers) or a lower DATA_LOADER.PREFETCH_FACTOR"
    )


def ignore_deaths() -> Any:
    """Torch's handler of SIGCHLD, which this returns, raises whatever is going on."""
    return signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def die_quietly() -> None:
    """When this process ends, so do its workers, and nothing is to be said of that.

    A process of a crew has no `atexit`; in the others torch's hooks come before the finalizers.
    """
    atexit.unregister(ignore_deaths)
    atexit.register(ignore_deaths)
    Finalize(None, ignore_deaths, exitpriority=0)
