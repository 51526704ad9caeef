"""A config held against the one that a checkpoint carries."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from cmvl.utils.errors import ConfigError

# Keys and groups. Other values of these make another net, which the same weights may fit.
BACKBONE = ("MODEL.BACKBONE", "RESNET", "SLOWFAST", "NONLOCAL", "I3D")
NET = (*BACKBONE, "TASK", "MODEL.NUM_CLASSES", "MEMORY", "DETECTION")
FIRST = ("MEMORY.INIT", "RESNET.ZERO_INIT_FINAL_BN")  # of initial weights, which have gone
# What learns and how: the optimizer's state goes by the order of it.
MOMENTA = (
    "MODEL.FREEZE", "SOLVER.OPTIMIZING_METHOD", "SOLVER.ZERO_WD_1D_PARAM",
    "SOLVER.BACKBONE_LR_MULT",
)  # fmt: skip
INPUT = (  # of torchvision's weights their own mean and deviation
    "DATA.NUM_FRAMES", "DATA.SAMPLING_RATE", "DATA.TARGET_FPS", "DATA.MEAN", "DATA.STD",
    "TORCHVISION.WEIGHTS",
)  # fmt: skip
# How and where a run goes on, not what it learns.
CIRCUMSTANCES = (
    "OUTPUT_DIR", "NUM_GPUS", "LOG_PERIOD", "DIST", "TENSORBOARD", "TEST", "DATA_LOADER",
    "DATA.TEST_CROP_SIZE", "DATA.BACKEND", "DATA.ENSEMBLE_METHOD", "DATA.MAX_RESAMPLES",
    "TRAIN.ENABLE", "TRAIN.EVAL_PERIOD", "TRAIN.EVAL_VIEWS", "TRAIN.CHECKPOINT_PERIOD",
    "TRAIN.CHECKPOINT_MINUTES", "TRAIN.CHECKPOINT_KEEP", "TRAIN.AUTO_RESUME", "MODEL.COMPILE",
    "MODEL.MEMORY_FORMAT", "VIDEO.CLIPS_AT_ONCE", "DETERMINISTIC",
)  # fmt: skip
# What has no part in the scores of a test, besides the weights.
NOT_OF_TESTS = (
    "OUTPUT_DIR", "RNG_SEED", "NUM_GPUS", "LOG_PERIOD", "DIST", "TENSORBOARD", "TRAIN", "SOLVER",
    "AUG", "MIXUP", "BN", "DATA_LOADER", "TEST.ENABLE", "TEST.CHECKPOINT_FILE_PATH", "TEST.CHUNK",
    "TEST.SKIP_BROKEN", "DATA.ENSEMBLE_METHOD", "DETERMINISTIC",
)  # fmt: skip
# A machine's own affairs: where it has its things, and how it reads them.
OWN = (
    "OUTPUT_DIR", "DATA.PATH_TO_DATA_DIR", "DATA.PATH_PREFIX", "AVA.FRAME_DIR",
    "AVA.FRAME_LIST_DIR", "AVA.ANNOTATION_DIR", "TRAIN.INIT_FROM", "TEST.CHECKPOINT_FILE_PATH",
    "DATA_LOADER",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key} {_shown(self.before)} -> {_shown(self.now)}"


def _shown(value: Any) -> Any:
    return value if value != "" else "''"


def flat(config: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("SOLVER.BASE_LR", 0.1) and so on, of nested groups."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def find_changes(text: str, cfg: CfgNode) -> list[Change]:
    """`text`: the config of a checkpoint, "" where it has none. Keys of one side alone are left
    out: they are another version's.
    """
    before, now = dict(flat(yaml.safe_load(text) or {})), dict(flat(yaml.safe_load(cfg.dump())))
    both = [key for key in now if key in before]
    return [Change(key, before[key], now[key]) for key in both if before[key] != now[key]]


def check_resume(text: str, cfg: CfgNode) -> str:
    """What a run goes on with otherwise than it began, to be told; "" for nothing.

    Raises ConfigError where it would go on with another net or optimizer.
    """
    changes = find_changes(text, cfg)
    for what, its, change in (
        ("net", "weights", [c for c in changes if _of_net(c.key)]),
        ("optimizer", "momenta", [c for c in changes if c.key in MOMENTA]),
    ):
        if change:
            raise ConfigError(
                f"{cfg.OUTPUT_DIR} holds a run with another {what} ({_listed(change)}), and its "
                f"{its} would be taken for this one's: choose another OUTPUT_DIR (TRAIN.INIT_FROM "
                "starts from its weights)"
            )
    others = [c for c in changes if not _is_in(c.key, CIRCUMSTANCES) and c.key not in FIRST]
    return f"the run goes on, not as it began: {_listed(others)}" if others else ""


def settings_of_test(cfg: CfgNode) -> dict[str, Any]:
    """All that a test's scores depend on, by key."""
    every = flat(yaml.safe_load(cfg.dump()))
    return {key: value for key, value in every if not _is_in(key, NOT_OF_TESTS)}


def check_alike(text: str, cfg: CfgNode, who: str) -> None:
    """Raises ConfigError where `who` has other settings than the main process, whose are `text`."""
    if changes := [c for c in find_changes(text, cfg) if not _is_in(c.key, OWN)]:
        raise ConfigError(
            f"{who} was started with other settings than rank 0 ({_listed(changes)}): start every "
            "machine with the same command"
        )


def compare_net(text: str, cfg: CfgNode) -> str:
    """In what net and input differ from those that the weights were trained in; "" for nothing."""
    return _told_of_weights(c for c in find_changes(text, cfg) if _of_net(c.key) or c.key in INPUT)


def compare_start(text: str, cfg: CfgNode) -> str:
    """The same of weights to start from, whose memory, classes and task may be others."""
    changes = find_changes(text, cfg)
    return _told_of_weights(c for c in changes if _of_net(c.key, BACKBONE) or c.key in INPUT)


def _told_of_weights(changes: Iterable[Change]) -> str:
    listed = _listed([*changes])
    return listed and f"the weights were trained with other settings: {listed}"


def _of_net(key: str, places: tuple[str, ...] = NET) -> bool:
    return _is_in(key, places) and key not in FIRST


def _is_in(key: str, places: tuple[str, ...]) -> bool:
    return any(key == place or key.startswith(f"{place}.") for place in places)


def _listed(changes: list[Change]) -> str:
    return ", ".join(map(str, changes))
