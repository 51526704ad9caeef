"""Annotation files as text."""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from cmvl.utils.errors import DataError


@contextmanager
def open_text(path: str | os.PathLike, newline: str | None = None) -> Iterator[TextIO]:
    """To read, in UTF-8 with or without a mark. `newline`: as `open` has it, "" for csv.

    Raises DataError where what is read in it turns out to be no such text, or no csv file.
    """
    try:
        with open(path, encoding="utf-8-sig", newline=newline) as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: this is no text in UTF-8 (byte 0x{error.object[error.start]:02x}); save it "
            "in that encoding, which spreadsheets call 'CSV UTF-8'"
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}: this is no csv file ({error})") from error
