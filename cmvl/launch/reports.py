"""What processes say when they fail, and which of it is the cause."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from cmvl.utils import errors
from cmvl.utils.errors import LaunchError, UserError

PATIENCE = 5.0  # seconds for the last words
# What a process says when another one is gone.
CONSEQUENCES = ("Connection closed", "Connection reset", "Broken pipe", "gloo", "NCCL", "store")


class Report(NamedTuple):
    """`kind`: the UserError's name, whose words `text` are; "" for a traceback."""

    time: float
    rank: int
    kind: str
    text: str


@contextmanager
def listening(reports: Any) -> Iterator[list[Report]]:
    """What is said, complete at the end.

    A pipe that nobody reads is soon full, and who writes into it waits for ever.
    """
    said: list[Report] = []

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                said.append(reports.get())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield said
    finally:
        reports._writer.close()  # the last end that is open: the listener comes to an end
        listener.join(PATIENCE)


def judge(
    exits: Sequence[int], killed: Sequence[int], said: list[Report], first: int
) -> tuple[UserError, bool]:
    """What went wrong first, and whether it looks as if it came of a failure elsewhere."""
    spoke = [report.rank - first for report in said]
    killed = [i for i in killed if i not in spoke]  # others failed before their end was a signal
    if killed:
        number = -exits[killed[0]]
        hint = ""
        if number == signal.SIGKILL:
            hint = ". Nobody asked it to? Then the system was most likely short of memory"
        message = f"rank {first + killed[0]} was killed by {signal.Signals(number).name}{hint}"
        return LaunchError(f"{message}; the others were stopped"), False
    if not said:
        return LaunchError(f"processes ended with exit codes {exits} and said nothing"), False
    cause = min(said, key=lambda report: (is_consequence(report), report))
    if cause.kind:
        return getattr(errors, cause.kind, UserError)(cause.text), False
    message = f"rank {cause.rank} failed, the others were stopped\n{cause.text}"
    return LaunchError(message), is_consequence(cause)


def is_consequence(report: Report) -> bool:
    """Of a process that lost the one that failed: later or vaguer than that one's."""
    return not report.kind and any(s in report.text.splitlines()[-1] for s in CONSEQUENCES)
