"""How far a long job is: a bar with the time left on a terminal, now and then a line elsewhere.

Only the main process shows anything.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from cmvl.utils.distributed import is_main

Item = TypeVar("Item")
EVERY = 30.0  # seconds between two lines


class Bar(tqdm):
    """A bar without the thread that looks after it: data workers are forked beside it."""

    monitor_interval = 0


def silent(line: str) -> None:
    """For `say`, where a log tells as much."""


def progress(
    items: Iterable[Item],
    total: int,
    what: str,
    unit: str,
    done: int = 0,
    say: Callable[[str], object] | None = None,
) -> Iterator[Item]:
    """Pass `items` on, showing how many of `total` are done, `done` of them before the first.

    `say` gets the lines where there is no terminal; as it stands they go to stderr.
    """
    if not is_main():
        yield from items
    elif sys.stderr.isatty():
        yield from Bar(
            items, what, total, leave=False, nrows=20, miniters=1, smoothing=0.05,
            unit=unit, initial=done,
        )  # fmt: skip
    else:
        yield from _with_lines(items, total, f"{what}: {{}} of {total} {unit}s", done, say or _tell)


def _with_lines(
    items: Iterable[Item], total: int, text: str, done: int, say: Callable[[str], object]
) -> Iterator[Item]:
    start = last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= EVERY:
            last = now
            left = (now - start) / count * (total - done - count)
            say(f"{text.format(done + count)}, {tqdm.format_interval(left)} left")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
