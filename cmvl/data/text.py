"""Annotation files as text."""

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

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


def official(path: str) -> str:
    """`path`; raises DataError if no such file is there."""
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file; it comes with the data set's annotations")
    return path


def read_json_list(path: str) -> list[Any]:
    """Raises DataError for a file that is not there or holds anything else."""
    try:
        with open_text(official(path)) as file:
            entries = json.load(file)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: expected a list in JSON ({error})") from error
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list in JSON, got {type(entries).__name__}")
    return entries
