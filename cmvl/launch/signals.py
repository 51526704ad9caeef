"""Signals that ask a run to save and stop: what schedulers send before they take a machine."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from types import TracebackType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
STOPPED = 128 + signal.SIGTERM  # exit status of a run that saved and stopped
HEARD = "\nCtrl-C: stopping after this step; again ends at once, without saving\n"


@dataclass
class StopRequest:
    """`name` of the signal that came, if one did."""

    name: str = ""

    def __bool__(self) -> bool:
        return bool(self.name)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Inside, the stop signals are noted instead of ending the process, and so is a first Ctrl-C.

    A second one is a KeyboardInterrupt.
    """
    request = StopRequest()

    def note(number: int, _: object) -> None:
        if number == signal.SIGINT and request:
            raise KeyboardInterrupt
        request.name = signal.Signals(number).name
        if number == signal.SIGINT:
            tell(HEARD)

    numbers = list(STOP_SIGNALS)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # else it is the launcher's business
        numbers.append(signal.SIGINT)
    with handling(note, numbers):
        yield request


@contextmanager
def handling(handler: object, numbers: list[int]) -> Iterator[None]:
    """Inside, `handler` gets these signals; in another thread than the main one nothing does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


@contextmanager
def held_back(numbers: Iterable[int]) -> Iterator[None]:
    """Inside, these signals wait, as they do for ever in a process that is started there."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_tracker() -> None:
    """Start multiprocessing's resource tracker, deaf to the stop signals.

    Schedulers send them to every process, and where it dies semaphores are lost track of.
    """
    with handling(signal.SIG_IGN, list(STOP_SIGNALS)):  # which it inherits
        resource_tracker.ensure_running()


def tell(text: str) -> None:
    """From a signal's handler, which may have come amid a print or a line of the log."""
    os.write(2, text.encode())


def as_in_a_worker() -> None:
    """Data workers leave all that to their main process, and end when it does."""
    for number in (*STOP_SIGNALS, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _hook
    die_with_parent()


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Of the thread that hands over tensors: a main process that leaves amid it is no failure."""
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)


def die_with_parent() -> None:
    """From now on this process is killed when the one that started it ends, however that ends."""

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    if parent := multiprocessing.parent_process():
        threading.Thread(target=watch, daemon=True).start()
