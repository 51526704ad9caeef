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


def setup_logging(output_dir: Path) -> None:
    """Send the main process's "cmvl" logger to the console and to stdout.log.

    The others are silent: their warnings would be the same, and a failure is told by the launcher.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    for handler in logger.handlers:
        handler.close()
    handlers: list[logging.Handler] = [logging.NullHandler()]
    if is_main():
        handlers = [_Console(sys.stdout), logging.FileHandler(output_dir / "stdout.log")]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", "%m/%d %H:%M:%S"))
    logger.handlers, logger.propagate = handlers, False
    logger.setLevel(logging.INFO if is_main() else logging.ERROR)
