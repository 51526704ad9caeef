"""Opening a video file, and what goes wrong in it said in one form."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
from av.error import FFmpegError
from av.stream import Disposition

from cmvl.utils.errors import DataError, UserError, VideoError

PYAV = int(av.__version__.split(".")[0])
if PYAV < 17:
    raise ImportError(
        f"cmvl needs PyAV 17 or newer, found {av.__version__}, which takes the colours of every "
        "video for those of BT.601: pip install 'av>=17'"
    )
# From PyAV 19 on tags of any encoding are taken.
ANY_TAGS = {"metadata_errors": "ignore"} if PYAV < 19 else {}
PICTURES = ("_pipe", "image2")  # ends of the names that FFmpeg has for their formats
# What PyAV raises for a broken file, besides its own errors.
BROKEN = (FFmpegError, OSError, ValueError, EOFError, IndexError)


def open_container(path: str) -> Any:
    """To be closed by the caller. Raises VideoError."""
    if not os.path.isfile(path):
        check_disk(path)
        found = "a folder" if os.path.isdir(path) else "nothing there"
        raise VideoError(f"{path}: expected a video file, found {found}")
    if os.path.getsize(path) == 0:
        raise VideoError(f"{path}: expected a video file, found 0 bytes")
    with damage(path, "it is no video file, or one cut off before its index"):
        return open_media(path)


def open_media(path: str) -> Any:
    """As PyAV does, whatever encoding the tags are in."""
    # An absolute path cannot be taken for a protocol such as "concat:".
    return av.open(os.path.abspath(path), **ANY_TAGS)


def film(path: str, container: Any) -> Any:
    """The first video stream that is no cover picture, to be decoded in one thread."""
    if container.format.name.endswith(PICTURES):
        raise VideoError(f"{path}: expected a video file, found a picture")
    films = [s for s in container.streams.video if Disposition.attached_pic not in s.disposition]
    if not films:
        raise VideoError(f"{path}: expected a video stream, found {_streams(container)}")
    codec = films[0].codec_context
    if codec is None:
        raise VideoError(f"{path}: expected a codec that FFmpeg decodes, found another")
    codec.thread_type, codec.thread_count = "NONE", 1
    return films[0]


@contextmanager
def damage(path: str, what: str) -> Iterator[None]:
    """Turns any failure of PyAV into a VideoError that says `what` failed; what is told already
    stays as it is.
    """
    try:
        yield
    except UserError:
        raise
    except BROKEN as error:
        raise failure(path, what, error) from error


def failure(path: str, what: str, error: Exception) -> VideoError:
    """To be raised: `what` failed. Raises DataError as `check_disk`."""
    check_disk(path)
    return VideoError(f"{path}: {what} ({getattr(error, 'strerror', None) or error})")


def check_disk(path: str) -> None:
    """Raises DataError where the whole folder of `path` cannot be read any more.

    Its videos are not broken then, and none is to be left out or replaced by another.
    """
    folder = os.path.dirname(path) or "."
    try:
        os.scandir(folder).close()  # a look at its status may come from a memory of it
    except (FileNotFoundError, NotADirectoryError):  # as lists have it that name what never was
        return
    except OSError as error:
        if isinstance(error, PermissionError) and os.access(folder, os.X_OK):
            return  # it may be entered though not listed
        raise DataError(
            f"{folder}: the folder cannot be read ({error.strerror}): bring back the disk or the "
            f"rights, and start again; {os.path.basename(path)} and what follows was not looked at"
        ) from error


def _streams(container: Any) -> str:
    kinds = [stream.type for stream in container.streams]
    return f"streams of type {', '.join(kinds)}" if kinds else "no streams"
