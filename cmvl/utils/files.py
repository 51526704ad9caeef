"""Files that are there whole or not at all, and disks that take no more."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from cmvl.utils.errors import NO_ROOM, UserError


@contextmanager
def writing(path: str | Path, part: Path | None = None) -> Iterator[None]:
    """Turns what the disk of `path` refuses into a UserError, be it FFmpeg who meets it; and any
    error at `part`, which is written in its stead.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM and error.filename != str(part):
            raise
        raise UserError(
            f"{path}: cannot be written ({os.strerror(error.errno)}): make room or name another "
            "place, and start again"
        ) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Inside, a place beside `path` to write to. It becomes `path` at the end, which replaces an
    older file at once, and is removed where that is not reached. Raises UserError as `writing`.

    A link or a device, as /dev/stdout, is not replaced but written to.
    """
    if path.is_symlink() or path.exists() and not path.is_file():
        with writing(path):
            yield path
        return
    # Two processes may write the same; with the file's own name in it, it could get too long.
    part = path.with_name(f".{token_hex(8)}.part")
    try:
        with writing(path, part):
            yield part
            part.replace(path)
    finally:
        with suppress(OSError):  # of a disk that is read alone
            part.unlink()


def check_place(path: Path) -> None:
    """Make the folder of a file that is to be written later.

    Raises UserError if none can be written there, OSError if a part of the way is no folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    there = path.exists() and not path.is_file()  # a device, say
    if not os.access(path if there else path.parent, os.W_OK):
        raise UserError(f"{path}: no file can be written here; name another place")


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """In UTF-8, whole, in a folder that is made. Raises UserError as `writing`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", errors=errors)
