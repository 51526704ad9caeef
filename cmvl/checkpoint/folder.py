"""A run's checkpoints on disk: their names, writing without halves, which are whole, which stay."""

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import IO

import torch

from cmvl.utils.errors import CheckpointError
from cmvl.utils.logging import logger

BEST = "checkpoint_best.pyth"


def checkpoint_path(output_dir: Path, epochs: int, videos: int = 0) -> Path:
    """After so many whole epochs and `videos` of the next one. Sorted by name is sorted by age."""
    within = f"_plus_{videos:09d}" if videos else ""
    return output_dir / "checkpoints" / f"checkpoint_epoch_{epochs:05d}{within}.pyth"


def checkpoints(output_dir: Path) -> list[Path]:
    """A run's checkpoints, oldest first; the best one, which is among them or was, is apart."""
    return sorted((output_dir / "checkpoints").glob("checkpoint_epoch_*.pyth"))


def find_last(output_dir: Path) -> Path:
    """The newest whole checkpoint of a run."""
    found = checkpoints(output_dir)
    if not found:
        raise CheckpointError(
            f"{output_dir / 'checkpoints'} holds no checkpoint: train first (TRAIN.ENABLE True), "
            "or name a weights file"
        )
    for path in reversed(found):
        if damage := find_damage(path):
            logger.warning("passed over %s: %s", path, damage)
        else:
            return path
    raise CheckpointError(f"{output_dir / 'checkpoints'}: none of {len(found)} files is whole")


def find_damage(path: Path) -> str:
    """What is wrong with a file that has a checksum beside it; "" for whole or unknown."""
    checksum = _checksum_path(path)
    words = checksum.read_text().split() if checksum.exists() else []
    if not words:  # an empty one: the power went before it reached the disk
        return ""
    expected, found = words[0], _digest(path)
    return "" if found == expected else f"its SHA-256 begins {found[:8]}, written {expected[:8]}"


def write_whole(state: dict, path: Path) -> None:
    """A reader sees the old file or the new one, never half of it; `sha256sum -c` can check it.

    Raises CheckpointError if the disk takes no more; what was there before is still there then.
    """
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(state, file)
            _sync(file)
        _write_checksum(temporary, path)
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into the latter
        full = getattr(error, "errno", None) == errno.ENOSPC or _is_full(path.parent)
        temporary.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and not full:
            raise  # not the writer's: a signal's handler may raise amid it
        why = "the disk is full" if full else str(error)
        raise CheckpointError(
            f"{path}: cannot be written, {why}. The checkpoints before it are whole: make room "
            "and start again, the run goes on after the last one"
        ) from error


def tidy(output_dir: Path) -> None:
    """Finish writes that were cut short after the last byte, and remove the others' halves."""
    for temporary in (output_dir / "checkpoints").glob("*.tmp"):
        path = temporary.with_suffix(".pyth")
        checksum = _checksum_path(path)
        if checksum.exists() and checksum.read_text().split()[:1] == [_digest(temporary)]:
            temporary.replace(path)
        else:
            temporary.unlink()


def keep_newest(output_dir: Path, count: int) -> None:
    """Remove all but the `count` newest checkpoints; 0 keeps all."""
    for path in checkpoints(output_dir)[:-count] if count else ():
        path.unlink()
        _checksum_path(path).unlink(missing_ok=True)


def add_name(path: Path, second: Path) -> None:
    """`second` becomes another name of `path`'s file, or a copy where there are no links."""
    temporary = second.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, temporary)
    _write_checksum(temporary, second)
    temporary.replace(second)


def _write_checksum(content: Path, path: Path) -> None:
    """Before the file itself gets its name: a file without its checksum passes as unknown."""
    checksum = _checksum_path(path)
    temporary = path.with_name(checksum.name + ".tmp")
    with temporary.open("w") as file:
        file.write(f"{_digest(content)}  {path.name}\n")
        _sync(file)
    temporary.replace(checksum)


def _checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        if hasattr(hashlib, "file_digest"):
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _sync(file: IO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """So that a new name outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_full(folder: Path) -> bool:
    return folder.exists() and os.statvfs(folder).f_bavail < 1024
