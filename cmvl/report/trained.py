"""A finished training as one thing to ask: config, net and class names, from a checkpoint alone."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from cmvl.checkpoint import find_last, load_weights
from cmvl.checkpoint.formats import read_checkpoint
from cmvl.config import load_cfg
from cmvl.data.disk import read_class_file
from cmvl.engine.precision import allow_tf32, build_precision
from cmvl.inference import encode_views
from cmvl.model import VideoModel, build_model
from cmvl.tasks import Task, find_task
from cmvl.utils.errors import CheckpointError, ConfigError, UserError


@dataclass(frozen=True)
class Trained:
    """A net in evaluation mode, on `device`, with what belongs to it."""

    path: Path  # of the checkpoint
    cfg: CfgNode
    task: Task
    model: VideoModel
    class_names: list[str]  # of class 0, 1 ...; "" for one that is not evaluated
    device: torch.device

    def computing(self) -> AbstractContextManager:
        """Inside, it computes in TEST.PRECISION, as a test does."""
        return build_precision(self.cfg.TEST.PRECISION, self.device).autocast()

    def encode(self, views: Tensor) -> list[Tensor]:
        """X_n of views uint8 (V, S, 3, T, H, W), as maps (1, V S, d, t, h, w) per pathway."""
        with self.computing():
            return encode_views(self.model, views.to(self.device), self.cfg.TEST.CHUNK)


def load_trained(
    place: str | Path,
    opts: Sequence[str] = (),
    device: str = "auto",
    cfg_file: str = "",
    class_file: str = "",
) -> Trained:
    """From a checkpoint, or the last one of a run's folder.

    `opts`: KEY VALUE pairs over its config. `cfg_file`: in place of it, for weights without one.
    `class_file`: in place of its class names, a .json of {"name": index}, one name a line, or
    `kinetics400`.
    Raises UserError.
    """
    path = Path(place)
    path = find_last(path) if path.is_dir() else path
    on = _device(device)
    opts = ["NUM_GPUS", str(int(on.type == "cuda")), "TRAIN.ENABLE", "False", *opts]
    saved = _content(path, bool(cfg_file))
    cfg = load_cfg(cfg_file, opts) if cfg_file else _own_cfg(path, saved, opts)
    task = find_task(cfg.TASK)
    model = build_model(cfg, task.head)
    load_weights(model, path, may_miss=())
    allow_tf32(cfg.MODEL.TF32)
    names = list(saved.get("class_names", ()))
    if class_file:
        names = _read_names(class_file)
    if names and len(names) != cfg.MODEL.NUM_CLASSES:
        raise UserError(
            f"{class_file or path}: names of {len(names)} classes, but the net has "
            f"{cfg.MODEL.NUM_CLASSES}"
        )
    first = int(cfg.TASK == "detection")  # action ids count from 1
    names = names or [str(k + first) for k in range(cfg.MODEL.NUM_CLASSES)]
    return Trained(path, cfg, task, model.to(on).eval(), names, on)


def _read_names(source: str) -> list[str]:
    if source == "kinetics400" and not Path(source).exists():
        from torchvision.models.video import R3D_18_Weights

        # In alphabetical order, in which PySlowFast and others number them too.
        return list(R3D_18_Weights.KINETICS400_V1.meta["categories"])
    return read_class_file(source)


def _content(path: Path, may_be_foreign: bool) -> dict:
    """What a checkpoint holds; of other weights files, nothing that is of use here."""
    try:
        return read_checkpoint(path)
    except CheckpointError:
        if not may_be_foreign:
            raise
        return {}


def _own_cfg(path: Path, saved: dict, opts: Sequence[str]) -> CfgNode:
    text = saved.get("cfg")
    if not isinstance(text, str):
        raise CheckpointError(
            f"{path}: carries no config, so it is no checkpoint of a run; name the config of its "
            "net with --cfg"
        )
    try:
        return load_cfg(path, opts, text)
    except ConfigError as error:
        if "command line" in str(error):
            raise
        raise CheckpointError(
            f"{path}: its config is not one of this version; name one with --cfg. {error}"
        ) from error


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name}: cannot be used here ({reason})") from error
    return device
