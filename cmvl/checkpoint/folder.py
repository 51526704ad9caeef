"""A run's checkpoints on disk: their names, the last one, writing without halves."""

import os
from pathlib import Path

import torch

from cmvl.utils.errors import CheckpointError


def checkpoint_path(output_dir: Path, epoch: int) -> Path:
    """Of the epoch just finished, counted from 0; the name counts from 1."""
    return output_dir / "checkpoints" / f"checkpoint_epoch_{epoch + 1:05d}.pyth"


def checkpoints(output_dir: Path) -> list[Path]:
    """A run's checkpoints, oldest first."""
    return sorted((output_dir / "checkpoints").glob("checkpoint_epoch_*.pyth"))


def find_last(output_dir: Path) -> Path:
    """The newest checkpoint of a run."""
    found = checkpoints(output_dir)
    if not found:
        raise CheckpointError(
            f"{output_dir / 'checkpoints'} holds no checkpoint: train first (TRAIN.ENABLE True), "
            "or name a weights file"
        )
    return found[-1]


def write_whole(state: dict, path: Path) -> None:
    """A reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
