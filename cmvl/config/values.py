"""What the value of each key may be, whatever the others are."""

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


def bad_values(cfg: CfgNode) -> Iterator[str]:
    """What is wrong with each, and what it may be."""
    for key, allowed in CHOICES.items():
        if value_of(cfg, key) not in allowed:
            yield f"{key} is {value_of(cfg, key)!r}; it can be {' | '.join(map(str, allowed))}"
    for words, (holds, keys) in RANGES.items():
        for key in keys:
            if not holds(value_of(cfg, key)):
                yield f"{key} is {value_of(cfg, key)}; it must be {words}"
    for key in ("DATA.MEAN", "DATA.STD"):
        if len(value_of(cfg, key)) != 3:
            yield f"{key} is {list(value_of(cfg, key))}; it must be three numbers, of R, G and B"
    betas = list(cfg.SOLVER.BETAS)
    if len(betas) != 2 or not all(isinstance(b, float | int) and 0 <= b < 1 for b in betas):
        yield f"SOLVER.BETAS {betas} must be two numbers from 0 to below 1"
    if not all(std > 0 for std in cfg.DATA.STD):
        yield f"DATA.STD is {list(cfg.DATA.STD)}; pixels are divided by it, so it must be above 0"


def value_of(cfg: CfgNode, key: str) -> object:
    """Of a dotted key."""
    for name in key.split("."):
        cfg = cfg[name]
    return cfg
