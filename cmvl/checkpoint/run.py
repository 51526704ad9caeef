"""Checkpoints of a run: written whole or not at all, resumed exactly; and weights to start from.

A checkpoint is one `torch.save` of a dict with `epoch` (0-based, just finished), `model_state`,
`optimizer_state`, `scaler_state`, `rng_state`, `cfg` (YAML text) and, where the data set tells
them, `class_names`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cmvl.checkpoint.folder import checkpoint_path, checkpoints, write_whole
from cmvl.checkpoint.formats import read_checkpoint
from cmvl.checkpoint.weights import load_weights
from cmvl.utils.errors import CheckpointError
from cmvl.utils.logging import logger

PARTS = ("epoch", "model_state", "optimizer_state", "scaler_state", "rng_state")


class Checkpointer:
    """Saves to OUTPUT_DIR/checkpoints and finds the way to start."""

    def __init__(
        self,
        output_dir: Path,
        model: nn.Module,
        optimizer: Optimizer,
        scaler: torch.amp.GradScaler,
        cfg_text: str,
        class_names: Sequence[str] = (),
    ):
        self.output_dir, self.cfg_text, self.class_names = output_dir, cfg_text, class_names
        self.model, self.optimizer, self.scaler = model, optimizer, scaler

    def start(self, auto_resume: bool, init_from: str) -> int:
        """The epoch to begin with. In this order: resume this run; `init_from`; from scratch."""
        last = checkpoints(self.output_dir)[-1:] if auto_resume else []
        if last:
            return self._resume(last[0])
        if init_from:
            logger.info(load_weights(self.model, init_from, may_miss=("memory.",)))
        return 0

    def save(self, epoch: int) -> Path:
        """Write the checkpoint of the epoch just finished."""
        state = {
            "epoch": epoch,
            "model_state": self.model.state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "scaler_state": self.scaler.state_dict(),
            "rng_state": _rng_state(),
            "cfg": self.cfg_text,
        }
        if self.class_names:
            state["class_names"] = list(self.class_names)
        path = checkpoint_path(self.output_dir, epoch)
        write_whole(state, path)
        logger.info("saved %s", path)
        return path

    def _resume(self, path: Path) -> int:
        state = read_checkpoint(path)
        missing = [part for part in PARTS if part not in state]
        if missing:
            raise CheckpointError(
                f"{path}: cannot resume, it lacks {', '.join(missing)}; move it away, or "
                "set TRAIN.AUTO_RESUME False and TRAIN.INIT_FROM to it"
            )
        try:
            self.model.load_state_dict(state["model_state"])
            self.optimizer.load_state_dict(state["optimizer_state"])
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: this run's config makes another model than the checkpoint's: choose "
                f"another OUTPUT_DIR, or set TRAIN.AUTO_RESUME False. {error}"
            ) from error
        self.scaler.load_state_dict(state["scaler_state"])
        _set_rng_state(state["rng_state"])
        logger.info("resumed %s after epoch %d", path, state["epoch"] + 1)
        return state["epoch"] + 1


def _rng_state() -> dict[str, Tensor | list[Tensor]]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _set_rng_state(state: dict) -> None:
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
