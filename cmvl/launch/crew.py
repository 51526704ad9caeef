"""Starting a run: alone, as several processes of this machine, or in the seat torchrun gave.

A process that fails ends all of them, and the one real cause is told.
"""

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from cmvl.launch.machines import meet
from cmvl.launch.reports import Report, is_consequence, judge, listening
from cmvl.launch.seat import Seat, seat_in, seated
from cmvl.launch.signals import (
    HEARD,
    STOP_SIGNALS,
    STOPPED,
    StopRequest,
    die_with_parent,
    handling,
    start_tracker,
    tell,
)
from cmvl.utils.errors import LaunchError, UserError

PATIENCE = 5.0  # seconds for the others to say what they saw, and to end when asked to


@dataclass(frozen=True)
class Crew:
    """`processes` on each of `shards` machines, this being machine `shard`.

    `meeting_point`: tcp://host:port of machine 0; needed with several machines. `timeout`: seconds
    a collective may take; `meeting`: seconds to wait for all to come.
    """

    processes: int
    gpu: bool
    shards: int = 1
    shard: int = 0
    meeting_point: str = ""
    timeout: float = 1800.0
    meeting: float = 300.0


def launch(job: Callable[..., None], arguments: Sequence[Any], crew: Crew) -> None:
    """Run `job(*arguments)` in every process of the crew, and return when all have ended."""
    start_tracker()
    seat = seat_in(os.environ, crew.processes)
    if seat and seat.world > 1:
        with seated(seat, crew.gpu, crew.timeout, crew.meeting):
            job(*arguments)
    elif seat or crew.processes * crew.shards == 1:
        job(*arguments)
    else:
        _run_together(job, arguments, crew)


def _run_together(job: Callable[..., None], arguments: Sequence[Any], crew: Crew) -> None:
    if crew.gpu and crew.processes > (found := torch.cuda.device_count()):
        raise LaunchError(
            f"NUM_GPUS asks for {crew.processes} processes with a GPU each, and torch "
            f"{torch.__version__} sees {found}: lower it, set NUM_GPUS 0 to run on CPUs, or mend "
            "the driver"
        )
    machines = meet(crew.shards, crew.shard, crew.meeting_point, crew.meeting)
    # Torch's sockets warn of every time-out, of which ours tell more; read when it is imported.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    context = multiprocessing.get_context("spawn")
    reports = context.SimpleQueue()
    world, first = crew.processes * crew.shards, crew.processes * crew.shard
    seats = [Seat(first + i, world, i, machines.host, machines.port) for i in range(crew.processes)]
    processes = [
        context.Process(target=_work, args=(job, arguments, seat, crew, reports)) for seat in seats
    ]
    with handling(signal.SIG_IGN, [signal.SIGINT]):  # which they inherit
        for process in processes:
            process.start()
    with machines.in_touch(lambda: _kill(processes)):
        with listening(reports) as said, _forwarding(processes) as asked:
            try:
                killed = _wait(processes)
            finally:
                _end(processes)
        exits = [process.exitcode for process in processes]
        if asked.name == "SIGINT" and any(code not in (0, STOPPED) for code in exits):
            machines.tell("ended by Ctrl-C")
            raise KeyboardInterrupt
        unheard = asked and -signal.Signals[asked.name] in exits and all(map(is_consequence, said))
        if unheard or STOPPED in exits and set(exits) <= {0, STOPPED}:
            sys.exit(STOPPED)
        if any(exits):
            raise machines.blame(*judge(exits, killed, said, first))


def _work(
    job: Callable[..., None], arguments: Sequence[Any], seat: Seat, crew: Crew, reports: Any
) -> None:
    """A process of the crew."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's business
    die_with_parent()
    try:
        with seated(seat, crew.gpu, crew.timeout, crew.meeting):
            job(*arguments)
    except UserError as error:
        reports.put(Report(time.time(), seat.rank, type(error).__name__, str(error)))
        sys.exit(1)
    except Exception:
        reports.put(Report(time.time(), seat.rank, "", traceback.format_exc().rstrip()))
        sys.exit(1)


@contextmanager
def _forwarding(processes: Sequence[BaseProcess]) -> Iterator[StopRequest]:
    """Inside, the signals that ask a run to save and stop are noted and reach every process.

    Ctrl-C asks for that too; a second one kills.
    """
    asked = StopRequest()

    def forward(number: int, _: object) -> None:
        again = asked.name == "SIGINT"
        if not again:
            asked.name = signal.Signals(number).name
        if number == signal.SIGINT and again:
            number = signal.SIGKILL
        elif number == signal.SIGINT:
            tell(HEARD)
            number = signal.SIGTERM
        for process in processes:
            if process.is_alive():
                os.kill(process.pid, number)

    with handling(forward, [*STOP_SIGNALS, signal.SIGINT]):
        yield asked


def _wait(processes: Sequence[BaseProcess]) -> list[int]:
    """Until all have ended, or one has failed; the places of those a signal had killed by then."""
    left = {process.sentinel: process for process in processes}
    while left:
        for sentinel in wait(list(left)):
            process = left.pop(sentinel)
            process.join()
            if process.exitcode not in (0, STOPPED):
                wait(list(left), timeout=0.2)
                return [i for i, p in enumerate(processes) if (p.exitcode or 0) < 0]
    return []


def _end(processes: Sequence[BaseProcess]) -> None:
    """Give those that still run a moment to say what they saw, then none."""
    deadline = time.monotonic() + PATIENCE
    alive = [process for process in processes if process.is_alive()]
    for process in alive:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _kill(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.kill()
