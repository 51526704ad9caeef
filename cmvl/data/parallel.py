"""Many files at once, showing how far it is, and by name the one that takes its process down."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from cmvl.utils.errors import DataError
from cmvl.utils.progress import progress

Item = TypeVar("Item")


class Crash(str):
    """In place of a result: the process ended without a word."""


def for_each(
    function: Callable[[Item], Any], items: Sequence[Item], workers: int, what: str
) -> Iterator[tuple[int, Any]]:
    """(place, function(item)) of every item as they finish; `workers` 0: in this process.

    If a process dies, what was not finished goes on one by one, and the item that kills its
    process again yields a `Crash`.
    """
    yield from progress(_results(function, items, workers), len(items), what, "file")


def _results(function, items, workers) -> Iterator[tuple[int, Any]]:
    if workers < 0:
        raise DataError(f"--workers {workers}: expected processes, or 0 for none besides this one")
    if workers == 0:
        yield from ((place, function(item)) for place, item in enumerate(items))
        return
    left = set(range(len(items)))
    for place, result in _all_at_once(function, items, workers):
        left.remove(place)
        yield place, result
    yield from _one_by_one(function, items, sorted(left))


def _all_at_once(function, items, workers) -> Iterator[tuple[int, Any]]:
    with _pool(workers) as pool:
        places = {pool.submit(function, item): place for place, item in enumerate(items)}
        try:
            for future in as_completed(places):
                yield places[future], future.result()
        except BrokenProcessPool:
            return
        finally:
            pool.shutdown(cancel_futures=True)  # where one raises, the others are not waited for


def _one_by_one(function, items, places) -> Iterator[tuple[int, Any]]:
    while places:
        with _pool(1) as pool:
            while places:
                place = places.pop(0)
                try:
                    yield place, pool.submit(function, items[place]).result()
                except BrokenProcessPool:
                    yield place, Crash("the decoder crashed and took its process with it")
                    break


def _pool(workers: int) -> ProcessPoolExecutor:
    # A forked child could inherit a lock that some thread of torch or OpenCV holds.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
