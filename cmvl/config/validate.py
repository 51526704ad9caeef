"""Combinations of values that cannot work, each with its mend."""

from collections.abc import Iterator

from fvcore.common.config import CfgNode

from cmvl.config.plan import batch_plan
from cmvl.config.values import bad_values
from cmvl.utils.errors import ConfigError


def validate(cfg: CfgNode) -> list[str]:
    """What is wrong with the whole, however many processes there will be."""
    wrong = list(bad_values(cfg))
    checks = (find_lack, _strategy, _optimizer, _schedule, _labels, _mixing, _crops, _boxes)
    return wrong or [text for check in checks for text in check(cfg)]


def check_training(cfg: CfgNode, ranks: int) -> None:
    """Raise ConfigError if a training by `ranks` processes lacks something."""
    if lack := list(find_lack(cfg, ranks)):
        together = f"with {ranks} processes: " if ranks > 1 else ""
        raise ConfigError(together + "; ".join(lack))


def find_lack(cfg: CfgNode, ranks: int = 1) -> Iterator[str]:
    """What the clip budget is too small for, in training by `ranks` processes."""
    B, N = cfg.TRAIN.BATCH_SIZE, cfg.VIDEO.NUM_CLIPS
    if not cfg.TRAIN.ENABLE:
        return
    plan, reduced = batch_plan(cfg, ranks), cfg.VIDEO.STRATEGY == "batch_reduction"
    if reduced and B < N:
        yield (
            f"TRAIN.BATCH_SIZE {B} is the clip budget of a step and does not hold one video of "
            f"VIDEO.NUM_CLIPS {N} clips: set TRAIN.BATCH_SIZE to {2 * N} or more, or "
            "VIDEO.STRATEGY multi_iteration"
        )
        return
    one = f"TRAIN.BATCH_SIZE {B} with VIDEO.NUM_CLIPS {N} makes 1 video"
    more = f"TRAIN.BATCH_SIZE to {2 * ranks * plan.passes * (N if reduced else 1)} or more"
    if cfg.MIXUP.ENABLE and plan.videos == 1:
        yield (
            f"MIXUP.ENABLE True mixes the videos of a pass in one process, and {one}: set {more}, "
            "or MIXUP.ENABLE False"
        )
    if too_few(cfg, plan.videos * (ranks if cfg.BN.SYNC else 1)):
        sync = "BN.SYNC True, " if ranks > 1 else ""
        yield (
            f"MEMORY.NORM {cfg.MEMORY.NORM} takes its statistics over the videos of a step in one "
            f"process, and {one}: set {sync}{more}, or MEMORY.NORM layer"
        )


def too_few(cfg: CfgNode, videos: int) -> bool:
    """Whether so many videos give a norm of the memory one value a channel, which has no spread."""
    memory, norm = cfg.MEMORY.INTERACTION, cfg.MEMORY.NORM
    pooled = memory == "AveragePoolMemory" or cfg.MEMORY.INFUSION == "FeatureGating"
    vectors = 1 if cfg.BN.CLIPWISE and norm != "batch_all" else cfg.VIDEO.NUM_CLIPS  # of a video
    return memory != "NoMemory" and pooled and norm.startswith("batch") and videos * vectors == 1


def _strategy(cfg: CfgNode) -> Iterator[str]:
    multi, at_once = cfg.VIDEO.STRATEGY == "multi_iteration", cfg.VIDEO.CLIPS_AT_ONCE
    N = cfg.VIDEO.NUM_CLIPS
    if multi and not cfg.BN.CLIPWISE and at_once < N:
        yield (
            f"BN.CLIPWISE False wants all {N} clips of a video in one pass, and VIDEO.STRATEGY "
            f"multi_iteration has {at_once}: set VIDEO.CLIPS_AT_ONCE {N}, or BN.CLIPWISE True"
        )
    if not multi and 1 != at_once < N:
        yield (
            f"VIDEO.CLIPS_AT_ONCE {at_once} is for VIDEO.STRATEGY multi_iteration; batch_reduction "
            f"holds all {N} clips at once: set it to 1, or the other strategy"
        )


def _optimizer(cfg: CfgNode) -> Iterator[str]:
    solver = cfg.SOLVER
    nesterov = solver.OPTIMIZING_METHOD == "sgd" and solver.NESTEROV
    if nesterov and (solver.MOMENTUM == 0 or solver.DAMPENING != 0):
        yield "SOLVER.NESTEROV True wants a SOLVER.MOMENTUM above 0 and SOLVER.DAMPENING 0"


def _schedule(cfg: CfgNode) -> Iterator[str]:
    solver = cfg.SOLVER
    if solver.WARMUP_EPOCHS > solver.MAX_EPOCH:
        yield (
            f"SOLVER.WARMUP_EPOCHS {solver.WARMUP_EPOCHS} is longer than "
            f"SOLVER.MAX_EPOCH {solver.MAX_EPOCH}"
        )
    if solver.COSINE_AFTER_WARMUP and solver.WARMUP_EPOCHS == solver.MAX_EPOCH:
        yield "SOLVER.COSINE_AFTER_WARMUP True wants epochs after SOLVER.WARMUP_EPOCHS"
    warms_up = cfg.TRAIN.ENABLE and solver.WARMUP_EPOCHS > 0  # weights of old runs stay of use
    if warms_up and solver.WARMUP_START_LR > solver.BASE_LR:
        yield (
            f"SOLVER.WARMUP_START_LR {solver.WARMUP_START_LR} is above SOLVER.BASE_LR "
            f"{solver.BASE_LR}: a warm-up rises, so set it to {solver.BASE_LR / 10:g}, say"
        )
    if solver.LR_POLICY != "steps_with_relative_lrs":
        return
    steps = list(solver.STEPS)
    if not steps or steps[0] != 0 or steps != sorted(steps) or len(solver.LRS) < len(steps):
        yield (
            f"SOLVER.STEPS {steps} must rise from 0 and have one of SOLVER.LRS "
            f"{list(solver.LRS)} each"
        )


def _labels(cfg: CfgNode) -> Iterator[str]:
    smoothing = cfg.TRAIN.LABEL_SMOOTHING
    if smoothing and cfg.TASK != "classification":
        yield f"TRAIN.LABEL_SMOOTHING {smoothing} is for TASK classification: set it to 0"


def _mixing(cfg: CfgNode) -> Iterator[str]:
    if not cfg.MIXUP.ENABLE:
        return
    if cfg.TASK == "detection":
        yield (
            "MIXUP.ENABLE True mixes the labels of videos, and TASK detection has those of boxes: "
            "set it to False"
        )
    if cfg.MIXUP.ALPHA == cfg.MIXUP.CUTMIX_ALPHA == 0:
        yield "MIXUP.ENABLE True wants a MIXUP.ALPHA or a MIXUP.CUTMIX_ALPHA above 0"


def _crops(cfg: CfgNode) -> Iterator[str]:
    crop, scales = cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TRAIN_JITTER_SCALES
    if scales[0] > scales[1]:
        yield f"DATA.TRAIN_JITTER_SCALES {list(scales)} must be [smallest, largest] short side"
    elif crop > scales[0]:
        yield (
            f"DATA.TRAIN_CROP_SIZE {crop} does not fit into the smallest short side of "
            f"DATA.TRAIN_JITTER_SCALES {list(scales)}"
        )


def _boxes(cfg: CfgNode) -> Iterator[str]:
    limits = list(cfg.AVA.KEYFRAME_RANGE)
    if limits and (len(limits) != 2 or limits[0] > limits[1]):
        yield f"AVA.KEYFRAME_RANGE {limits} must be [first, last] second, or []"
