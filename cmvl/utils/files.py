"""Files and folders that are there whole or not at all, and disks that take no more."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC, EROFS
from pathlib import Path

from cmvl.utils.errors import UserError

NO_ROOM = (ENOSPC, EDQUOT, EFBIG, EROFS)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turns what the disk of `path` refuses into a UserError, be it FFmpeg who meets it."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UserError(
            f"{path}: cannot be written ({os.strerror(error.errno)}): make room or name another "
            "place, and start again"
        ) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Inside, a place beside `path` to write to. It becomes `path` at the end, which replaces an
    older file at once, and is removed where that is not reached. Raises UserError as `writing`.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # two processes may write the same
    try:
        with writing(path):
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
