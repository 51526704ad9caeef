"""What a clip's forward pass keeps for the backward pass, counted without computing it."""

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.engine.freeze import build_frozen, train_mode
from cmvl.model import build_model
from cmvl.tasks import find_task

# Of float32's, with bfloat16 under autocast: 0.51 and 0.52 as measured (docs/benchmarks.md).
IN_BFLOAT16 = 0.52


def activations(cfg: CfgNode) -> int:
    """Bytes in float32 of a training clip in the backbone; the memory has its last maps alone."""
    side = cfg.DATA.TRAIN_CROP_SIZE
    with torch.device("meta"):
        model = build_model(cfg, find_task(cfg.TASK).head)
        clip = torch.zeros(1, 3, cfg.DATA.NUM_FRAMES, side, side, dtype=torch.uint8)
    build_frozen(cfg, model)
    train_mode(model)
    return kept_bytes(model.backbone, clip)


def kept_bytes(f: nn.Module, clip: Tensor) -> int:
    """Without the parameters and buffers of `f`."""
    own = {tensor.untyped_storage()._cdata for tensor in (*f.parameters(), *f.buffers())}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # held, or its place would be taken by another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        f(clip)
    return sum(storage.nbytes() for place, storage in kept.items() if place not in own)
