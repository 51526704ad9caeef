"""What a clip's forward pass keeps for the backward pass, counted without computing it."""

import torch
from torch import Tensor, nn

# Of float32's, with bfloat16 under autocast: 0.51 and 0.52 as measured (docs/benchmarks.md).
IN_BFLOAT16 = 0.52


def kept_bytes(f: nn.Module, clip: Tensor) -> int:
    """Of `f` on the device meta and in training mode; without its parameters and buffers."""
    own = {tensor.untyped_storage()._cdata for tensor in (*f.parameters(), *f.buffers())}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # held, or its place would be taken by another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        f(clip)
    return sum(storage.nbytes() for place, storage in kept.items() if place not in own)
