"""Signals that ask a run to save and stop: what schedulers send before they take a machine."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
STOPPED = 128 + signal.SIGTERM  # exit status of a run that saved and stopped


@dataclass
class StopRequest:
    """`name` of the signal that came, if one did."""

    name: str = ""

    def __bool__(self) -> bool:
        return bool(self.name)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Inside, the stop signals are noted instead of ending the process."""
    request = StopRequest()

    def note(number: int, _: object) -> None:
        request.name = signal.Signals(number).name

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def as_in_a_worker() -> None:
    """Data workers leave these signals to their main process, which ends them when it ends."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
