"""Checkpoints of small nets with random weights, for tests of what comes after training."""

import torch
from torch import nn

from cmvl.config import load_cfg
from cmvl.model import build_model
from cmvl.tasks import find_task

TINY = (
    "NUM_GPUS 0 MODEL.BACKBONE SlowOnly MODEL.NUM_CLASSES 3 DATA.NUM_FRAMES 2 DATA.SAMPLING_RATE 4 "
    "DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40] "
    "RESNET.DEPTH 18 RESNET.STAGE_BLOCKS [1,1,1,1] RESNET.WIDTH_PER_GROUP 4 TRAIN.BATCH_SIZE 9 "
    "MEMORY.INTERACTION AssociativeMemory MEMORY.REDUCTION 2 VIDEO.NUM_CLIPS 3 "
    "TEST.NUM_ENSEMBLE_VIEWS 4 TEST.NUM_SPATIAL_CROPS 1 DATA_LOADER.NUM_WORKERS 0"
).split()
NAMES = ["pour <water>", "stir", "café, cut"]


def write_checkpoint(path, opts=(), names=NAMES):
    """A checkpoint as training leaves it, with scores that differ from clip to clip."""
    cfg = load_cfg(None, [*TINY, *opts])
    torch.manual_seed(1)
    model = build_model(cfg, find_task(cfg.TASK).head)
    nn.init.normal_(model.head.projection.weight, std=0.5)
    for module in model.memory.modules():  # a memory that is heard
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    for module in model.modules():  # norms that have seen something
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(std=0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"epoch": 0, "model_state": model.state_dict(), "cfg": cfg.dump()}
    torch.save(state | ({"class_names": names} if names else {}), path)
    return path
