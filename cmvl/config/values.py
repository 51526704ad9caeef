"""What the value of each key may be, whatever the others are."""

import math
from collections.abc import Callable, Iterator

from fvcore.common.config import CfgNode

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
CHOICES = {
    "VIDEO.STRATEGY": ("batch_reduction", "multi_iteration"),
    "MEMORY.NORM": ("batch", "batch_all", "batch_each", "layer", "none"),
    "MEMORY.INIT": ("uniform", "normal", "zero"),
    "MEMORY.PATHWAYS": ("all", "slow"),
    "SOLVER.OPTIMIZING_METHOD": ("sgd", "adamw"),
    "SOLVER.LR_POLICY": ("cosine", "steps_with_relative_lrs"),
    "TEST.NUM_SPATIAL_CROPS": (1, 3),
    "DATA.ENSEMBLE_METHOD": ("sum", "max"),
    "DATA.BACKEND": ("pyav", "torchcodec"),
    "DATA.CLIP_RULE": ("auto", "span", "strided", "segments"),
    "AVA.EVALUATOR": ("pyslowfast", "activitynet_2018", "activitynet_2019", "activitynet_2020"),
    "TRAIN.PRECISION": PRECISIONS,
    "TEST.PRECISION": PRECISIONS,
    "MODEL.MEMORY_FORMAT": ("auto", "contiguous", "channels_last"),
}
RANGES: dict[str, tuple[Callable[[float], bool], tuple[str, ...]]] = {
    "1 or more": (
        lambda x: x >= 1,
        (
            "TRAIN.BATCH_SIZE",
            "TRAIN.EVAL_VIEWS",
            "TRAIN.CHECKPOINT_PERIOD",
            "TEST.NUM_ENSEMBLE_VIEWS",
            "TEST.CHUNK",
            "DATA.NUM_FRAMES",
            "DATA.SAMPLING_RATE",
            "DATA.TRAIN_CROP_SIZE",
            "DATA.TEST_CROP_SIZE",
            "DATA_LOADER.PREFETCH_FACTOR",
            "VIDEO.NUM_CLIPS",
            "VIDEO.CLIPS_AT_ONCE",
            "VIDEO.WINDOW",
            "MEMORY.REDUCTION",
            "MODEL.NUM_CLASSES",
            "RESNET.WIDTH_PER_GROUP",
            "SLOWFAST.ALPHA",
            "SLOWFAST.BETA_INV",
            "SLOWFAST.FUSION_CONV_CHANNEL_RATIO",
            "SLOWFAST.FUSION_KERNEL_SZ",
            "I3D.CONV1_STRIDE",
            "I3D.POOL1_SIZE",
            "DETECTION.ROI_XFORM_RESOLUTION",
            "BN.NUM_BATCHES_PRECISE",
            "SOLVER.MAX_EPOCH",
            "SOLVER.ACCUM_ITERS",
            "LOG_PERIOD",
        ),
    ),
    "0 or more": (
        lambda x: x >= 0,
        (
            "RNG_SEED",
            "NUM_GPUS",
            "DIST.PROCESSES",
            "TRAIN.EVAL_PERIOD",
            "TRAIN.CHECKPOINT_MINUTES",
            "TRAIN.CHECKPOINT_KEEP",
            "DATA.MAX_RESAMPLES",
            "DATA_LOADER.NUM_WORKERS",
            "DATA_LOADER.TIMEOUT",
            "AUG.RANDAUGMENT_OPS",
            "AUG.COLOR_JITTER",
            "MIXUP.ALPHA",
            "MIXUP.CUTMIX_ALPHA",
            "TENSORBOARD.HISTOGRAM_PERIOD",
            "TENSORBOARD.NUM_VIDEOS",
            "VIDEO.LOSS_WEIGHT",
            "MODEL.FC_INIT_STD",
            "I3D.POOL1_PAD",
            "AVA.START_SECOND",
            "SOLVER.BASE_LR",
            "SOLVER.COSINE_END_LR",
            "SOLVER.WARMUP_EPOCHS",
            "SOLVER.WARMUP_START_LR",
            "SOLVER.DAMPENING",
            "SOLVER.WEIGHT_DECAY",
            "BN.WEIGHT_DECAY",
            "SOLVER.NONFINITE",
            "SOLVER.CLIP_GRAD_L2NORM",
        ),
    ),
    "above 0": (
        lambda x: x > 0,
        ("DATA.TARGET_FPS", "DIST.MEETING", "DIST.TIMEOUT", "SOLVER.BACKBONE_LR_MULT"),
    ),
    "from 0 to 1": (
        lambda x: 0 <= x <= 1,
        ("AUG.RE_PROB", "MIXUP.PROB", "MIXUP.SWITCH_PROB", "AVA.DETECTION_SCORE_THRESH"),
    ),
    "from 0 to below 1": (
        lambda x: 0 <= x < 1,
        ("MODEL.DROPOUT_RATE", "SOLVER.MOMENTUM", "TRAIN.LABEL_SMOOTHING"),
    ),
    "from 0 to 30": (lambda x: 0 <= x <= 30, ("AUG.RANDAUGMENT_MAGNITUDE",)),
}
# What every element of a list must be.
ELEMENTS: dict[str, tuple[Callable[[object], bool], tuple[str, ...]]] = {
    "names, between quotes": (
        lambda x: isinstance(x, str),
        (
            "MODEL.FREEZE",
            "AVA.TRAIN_LISTS",
            "AVA.TEST_LISTS",
            "AVA.TRAIN_GT_BOX_LISTS",
            "AVA.TRAIN_PREDICT_BOX_LISTS",
            "AVA.TEST_PREDICT_BOX_LISTS",
        ),
    ),
    "whole numbers of 1 or more": (
        lambda x: type(x) is int and x >= 1,
        (
            "DATA.TRAIN_JITTER_SCALES",
            "RESNET.STAGE_BLOCKS",
            "RESNET.SPATIAL_STRIDES",
            "RESNET.SPATIAL_DILATIONS",
            "NONLOCAL.POOL",
            "NONLOCAL.GROUP",
        ),
    ),
    "whole numbers of 0 or more": (
        lambda x: type(x) is int and x >= 0,
        ("RESNET.NUM_BLOCK_TEMP_KERNEL", "NONLOCAL.LOCATION", "AVA.KEYFRAME_RANGE"),
    ),
    "numbers": (lambda x: _is_number(x), ("DATA.MEAN",)),
    "numbers above 0": (lambda x: _is_number(x) and x > 0, ("DATA.STD",)),
    "numbers of 0 or more": (lambda x: _is_number(x) and x >= 0, ("SOLVER.STEPS", "SOLVER.LRS")),
    "numbers from 0 to below 1": (lambda x: _is_number(x) and 0 <= x < 1, ("SOLVER.BETAS",)),
}
NESTED = (  # these may have lists in them, per stage and pathway
    "RESNET.NUM_BLOCK_TEMP_KERNEL", "RESNET.SPATIAL_STRIDES", "RESNET.SPATIAL_DILATIONS",
    "NONLOCAL.LOCATION", "NONLOCAL.POOL", "NONLOCAL.GROUP",
)  # fmt: skip
LENGTHS = {"DATA.MEAN": 3, "DATA.STD": 3, "DATA.TRAIN_JITTER_SCALES": 2, "SOLVER.BETAS": 2}


def bad_values(cfg: CfgNode) -> Iterator[str]:
    """What is wrong with each, and what it may be."""
    for key, allowed in CHOICES.items():
        if value_of(cfg, key) not in allowed:
            yield f"{key} is {value_of(cfg, key)!r}; it can be {' | '.join(map(str, allowed))}"
    for words, (holds, keys) in RANGES.items():
        for key in keys:
            if not holds(value_of(cfg, key)):
                yield f"{key} is {value_of(cfg, key)}; it must be {words}"
    yield from _bad_lists(cfg)


def _bad_lists(cfg: CfgNode) -> Iterator[str]:
    for words, (holds, keys) in ELEMENTS.items():
        for key in keys:
            value = value_of(cfg, key)
            if bad := [x for x in (_flat(value) if key in NESTED else value) if not holds(x)]:
                yield f"{key} is {value}; it must have {words}, not {bad[0]!r}"
    for key, length in LENGTHS.items():
        if len(value_of(cfg, key)) != length:
            yield f"{key} is {value_of(cfg, key)}; it must have {length} elements"


def value_of(cfg: CfgNode, key: str) -> object:
    """Of a dotted key."""
    for name in key.split("."):
        cfg = cfg[name]
    return cfg


def _flat(values: list) -> Iterator[object]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _is_number(x: object) -> bool:
    return type(x) in (int, float) and math.isfinite(x)
