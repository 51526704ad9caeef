"""Mistakes a user can mend. Tools print these alone, without a traceback."""

import signal
import sys
from collections.abc import Callable
from errno import EDQUOT, EFBIG, ENOSPC, EROFS

NO_ROOM = (ENOSPC, EDQUOT, EFBIG, EROFS)  # what a disk says that takes no more


class UserError(ValueError):
    """Says what is wrong, where (file, line, value) and how to mend it."""


class ConfigError(UserError):
    """A config file or override cannot be used."""


class DataError(UserError):
    """An annotation list or a data folder cannot be used."""


class VideoError(DataError):
    """One video cannot be read: its path, what was expected and what came."""


class CheckpointError(UserError):
    """A weights file does not fit."""


class LaunchError(UserError):
    """The processes of a run did not come together, or one of them failed."""


class TrainingError(UserError):
    """Training cannot go on, say because the loss is no number."""


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool's `main`; a user's mistake ends it with exit status 1 and its message alone.

    So does a file that is not there, or a place where none can be written. Ctrl-C ends it with
    status 130.
    """
    if sys.stdout:  # not closed
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold bytes that are no UTF-8
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.filename is None and error.errno not in NO_ROOM:
            raise
        sys.exit(f"error: {error.filename or 'a file could not be written'}: {error.strerror}")
