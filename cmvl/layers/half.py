"""Where half precision is too short: sums over many positions, scores near one."""

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def widen(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x.float() if x.dtype in HALF else x
