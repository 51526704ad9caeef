"""A run's own checkpoints: everything needed to go on as if nothing had happened.

A checkpoint is one `torch.save` of a dict: `epoch` (the last whole one, 0-based; -1 for none),
`videos` (how many of the next epoch are behind us, over all processes), `model_state`,
`optimizer_state`, `scaler_state`, `best` (metric, value and epoch of the best validation),
`per_rank` (random states and what is pending for the log, of each process), `log_bytes`, `cfg`
(YAML text), `data` (the fingerprint of the list it trains on) and, where the data set tells them,
`class_names`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from cmvl.checkpoint.folder import (
    BEST,
    add_name,
    checkpoint_path,
    checkpoints,
    find_damage,
    keep_newest,
    tidy,
    write_whole,
)
from cmvl.checkpoint.formats import read_checkpoint
from cmvl.checkpoint.random_state import random_state, set_random_state
from cmvl.checkpoint.weights import fill, find_weights
from cmvl.utils.distributed import broadcast, gather, is_main, rank, world_size
from cmvl.utils.errors import CheckpointError
from cmvl.utils.logging import logger
from cmvl.utils.runlog import RunLog

PARTS = ("epoch", "videos", "model_state", "optimizer_state", "scaler_state", "best", "per_rank")


@dataclass(frozen=True)
class Position:
    """`epoch` whole epochs and `videos` of the next one are behind us."""

    epoch: int = 0
    videos: int = 0


class Checkpointer:
    """Saves to OUTPUT_DIR/checkpoints and finds the way to start. All processes call it alike."""

    def __init__(
        self,
        output_dir: Path,
        model: nn.Module,
        optimizer: Optimizer,
        scaler,
        log: RunLog,
        cfg_text: str,
        class_names: Sequence[str] = (),
        keep: int = 0,
        data: str = "",
    ):
        """`keep`: how many of the newest stay besides the best one; 0: all. `data`: a text that is
        another where the videos, or their labels, are others.
        """
        self.output_dir, self.cfg_text, self.class_names = output_dir, cfg_text, class_names
        self.model, self.optimizer, self.scaler = model, optimizer, scaler
        self.log, self.keep, self.data = log, keep, data
        self.best: dict[str, str | float | int] = {}

    def start(
        self,
        auto_resume: bool,
        init_from: str,
        allow: Callable[[str], None] = lambda text: None,
        compare: Callable[[str], None] = lambda text: None,
    ) -> Position:
        """Where to begin. In this order: resume this run; `init_from`; from scratch.

        `allow` gets the config of the checkpoint to resume, and raises what speaks against it;
        `compare` that of the weights to start from, "" where they have none of ours.
        """
        if is_main():
            tidy(self.output_dir)
        # The main process looks: the others may see a shared disk a moment later.
        newest = broadcast(str(self._newest() or "") if auto_resume and is_main() else "")
        if newest:
            return self._resume(Path(newest), allow)
        if broadcast(bool(is_main() and checkpoints(self.output_dir))):
            raise CheckpointError(
                f"{self.output_dir / 'checkpoints'} holds another run's checkpoints, among which "
                "this one's would be taken for theirs: TRAIN.AUTO_RESUME False wants a new "
                "OUTPUT_DIR (TRAIN.INIT_FROM can start from the old one)"
            )
        if init_from:
            weights = find_weights(init_from)
            logger.info(fill(self.model, weights, may_miss=("memory.",)))
            compare(weights.own_cfg)
        return Position()

    def save(self, position: Position) -> Path:
        """Write the checkpoint of `position`, and let go of the oldest."""
        path = checkpoint_path(self.output_dir, position.epoch, position.videos)
        self._write(path, position)
        if is_main():
            keep_newest(self.output_dir, self.keep)
        return path

    def end_epoch(self, epochs: int, saving: bool, metrics: Mapping[str, float]) -> None:
        """After `epochs` whole ones: write the checkpoint if `saving`, and if it is the best.

        The best has the highest first metric of all validations.
        """
        path = checkpoint_path(self.output_dir, epochs)
        best = path.with_name(BEST)
        if broadcast(self._is_best(metrics, epochs)):
            self._write(best, Position(epochs))
            if saving and is_main():
                add_name(best, path)
        elif saving:
            self._write(path, Position(epochs))
        if is_main():
            keep_newest(self.output_dir, self.keep)

    def _is_best(self, metrics: Mapping[str, float], epochs: int) -> bool:
        name, value = next(iter(metrics.items()), ("", 0.0))
        if not name or (self.best and not value > self.best["value"]):
            return False
        self.best = {"metric": name, "value": float(value), "epoch": epochs}
        return True

    def _write(self, path: Path, position: Position) -> None:
        per_rank = gather({"random": random_state(), "log": self.log.pending()})
        if not is_main():
            return
        state = {
            "epoch": position.epoch - 1,
            "videos": position.videos,
            "model_state": self.model.state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "scaler_state": self.scaler.state_dict(),
            "best": self.best,
            "per_rank": per_rank,
            "log_bytes": self.log.size(),
            "cfg": self.cfg_text,
            "data": self.data,
        }
        if self.class_names:
            state["class_names"] = list(self.class_names)
        write_whole(state, path)
        logger.info("saved %s", path)

    def _newest(self) -> Path | None:
        """The newest checkpoint that is whole and a run's; others are passed over aloud."""
        found = checkpoints(self.output_dir)
        for path in reversed(found):
            if not (trouble := find_damage(path) or _find_gaps(path)):
                return path
            logger.warning("%s: cannot be resumed, %s; the one before it is tried", path, trouble)
        if found:
            raise CheckpointError(
                f"{self.output_dir / 'checkpoints'}: none of {len(found)} checkpoints can be "
                f"resumed. Of the last one tried: {trouble}. Move them away, or "
                "choose another OUTPUT_DIR and set TRAIN.INIT_FROM to one"
            )
        return None

    def _resume(self, path: Path, allow: Callable[[str], None]) -> Position:
        state = read_checkpoint(path)
        allow(state.get("cfg", ""))
        try:
            self.model.load_state_dict(state["model_state"])
            _load_optimizer(self.optimizer, state["optimizer_state"])
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: this run's config makes another model than the checkpoint's: choose "
                f"another OUTPUT_DIR. {error}"
            ) from error
        if state["scaler_state"]:  # empty of a run that did not scale
            self.scaler.load_state_dict(state["scaler_state"])
        self.best = state["best"]
        self.log.cut(state["log_bytes"])
        position = Position(state["epoch"] + 1, state["videos"])
        logger.info(
            "resumed %s after %d epochs and %d videos", path, position.epoch, position.videos
        )
        if state.get("data", self.data) != self.data:
            logger.warning(
                "the training videos, or their labels, are others than when it was saved; what is "
                "left of an epoch is drawn from the new list: some may come twice in it, or never"
            )
        self.log.take_up([of_one["log"] for of_one in state["per_rank"]])
        if len(state["per_rank"]) == world_size():
            set_random_state(state["per_rank"][rank()]["random"])
        else:
            logger.info(
                "%d processes wrote it, %d go on: at the same video, with new random numbers",
                len(state["per_rank"]),
                world_size(),
            )
        return position


def _load_optimizer(optimizer: Optimizer, state: dict) -> None:
    """Momenta and the last rate; settings such as the weight decay stay those of the config."""
    kept = ("params", "lr")
    settings = [{k: v for k, v in g.items() if k not in kept} for g in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)


def _find_gaps(path: Path) -> str:
    """Why a file is no checkpoint of a run; "" if it is one."""
    try:
        state = read_checkpoint(path)
    except CheckpointError as error:
        return str(error)
    missing = [part for part in PARTS if part not in state]
    return f"it lacks {', '.join(missing)}" if missing else ""
