"""When a checkpoint is due within an epoch: by the clock, or because the run is about to end."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import TypeVar

from cmvl.checkpoint import Checkpointer, Position
from cmvl.launch.signals import STOPPED, StopRequest
from cmvl.utils.distributed import highest
from cmvl.utils.errors import UserError
from cmvl.utils.logging import logger
from cmvl.utils.runlog import RunLog

Item = TypeVar("Item")
GO_ON, SAVE, SAVE_AND_FAIL, SAVE_AND_STOP = range(4)


class Keeper:
    """Asked between steps, in every process alike; `minutes` 0: the clock asks for nothing."""

    def __init__(self, ckpt: Checkpointer, log: RunLog, stop: StopRequest, minutes: float):
        self.ckpt, self.log, self.stop, self.seconds = ckpt, log, stop, 60 * minutes
        self._saved = time.monotonic()

    def between(self, data: Iterator[Item], position: Callable[[int], Position]) -> Iterator[Item]:
        """Each step's of `data`; after i steps training is at `position(i)`.

        After every step, and with the next one's at hand, a checkpoint is saved if it is time. So
        it is where some process cannot have its data: that failure ends the run, but loses nothing.
        """
        for i in count():
            item = failure = None
            try:
                item = next(data, None)
            except UserError as error:
                failure = error
            if i:
                self._after_step(position(i), failure is not None)
            if failure:
                raise failure
            if item is None:
                return
            yield item

    def _after_step(self, position: Position, failing: bool) -> None:
        """Save if it is time; then end the process if a signal asked for it."""
        wish = SAVE if self._is_older(self.seconds) else GO_ON
        wish = SAVE_AND_STOP if self.stop else SAVE_AND_FAIL if failing else wish
        wish = highest(wish)  # all at the same step, whoever heard the signal or has the clock
        if wish:
            self.save(position)
        if wish >= SAVE_AND_FAIL:
            highest(wish)  # the main process has written: nobody's end is to interrupt it
        if wish == SAVE_AND_STOP and not failing:
            leave(self.stop)

    def before_evaluation(self, position: Position) -> None:
        """An evaluation may take long: what would be lost by then is saved."""
        if highest(int(self._is_older(self.seconds / 10))):
            self.save(position)

    def end_epoch(self, epochs: int, saving: bool, metrics: Mapping[str, float]) -> None:
        """As the checkpointer's; then end the process if a signal asked for it."""
        self.ckpt.end_epoch(epochs, saving, metrics)
        if saving:
            self._saved = time.monotonic()
            if highest(int(bool(self.stop))):
                leave(self.stop)

    def save(self, position: Position) -> None:
        self.log.check()  # a checkpoint of a diverged run would be the newest
        self.ckpt.save(position)
        self._saved = time.monotonic()

    def _is_older(self, seconds: float) -> bool:
        return 0 < seconds <= time.monotonic() - self._saved


def leave(stop: StopRequest) -> None:
    """End the process, with the exit status of a run that can go on."""
    logger.warning("stopped by %s; started again, the run goes on", stop.name or "another process")
    sys.exit(STOPPED)
