"""Where messages go: the console and OUTPUT_DIR/stdout.log."""

import logging
import sys
from pathlib import Path

from tqdm import tqdm

from cmvl.utils.distributed import is_main

logger = logging.getLogger("cmvl")


class _Console(logging.StreamHandler):
    """Lines go above a progress bar, not into it."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(self.stream):
            super().emit(record)


class _Lines(logging.Formatter):
    """A path in them may hold any bytes."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def printable(name: str) -> str:
    """The name of a file or folder as any writer takes it: what is no UTF-8 becomes escapes."""
    return name.encode(errors="backslashreplace").decode()


def setup_logging(output_dir: Path) -> None:
    """Send the main process's "cmvl" logger to the console and to stdout.log.

    The others are silent: their warnings would be the same, and a failure is told by the launcher.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    for handler in logger.handlers:
        handler.close()
    handlers: list[logging.Handler] = [logging.NullHandler()]
    if is_main():
        file = logging.FileHandler(output_dir / "stdout.log", encoding="utf-8")
        handlers = [_Console(sys.stdout), file]
    for handler in handlers:
        handler.setFormatter(_Lines("[%(asctime)s] %(message)s", "%m/%d %H:%M:%S"))
    logger.handlers, logger.propagate = handlers, False
    logger.setLevel(logging.INFO if is_main() else logging.ERROR)
