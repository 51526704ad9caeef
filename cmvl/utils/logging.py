"""Where messages go: the console and OUTPUT_DIR/stdout.log."""

import logging
import sys
from pathlib import Path

from tqdm import tqdm

from cmvl.utils.distributed import is_main, rank, world_size

logger = logging.getLogger("cmvl")


class _Console(logging.StreamHandler):
    """Lines go above a progress bar, not into it."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(self.stream):
            super().emit(record)


def setup_logging(output_dir: Path) -> None:
    """Send the "cmvl" logger to the console and, from the main process, to stdout.log.

    Of the other processes only warnings are shown, with their rank.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    for handler in logger.handlers:
        handler.close()
    handlers: list[logging.Handler] = [_Console(sys.stdout)]
    if is_main():
        handlers.append(logging.FileHandler(output_dir / "stdout.log"))
    who = f"rank {rank()} of {world_size()}: " if not is_main() else ""
    for handler in handlers:
        text = logging.Formatter(f"[%(asctime)s] {who}%(message)s", "%m/%d %H:%M:%S")
        handler.setFormatter(text)
    logger.handlers, logger.propagate = handlers, False
    logger.setLevel(logging.INFO if is_main() else logging.WARNING)
