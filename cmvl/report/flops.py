"""Parameters and multiply-adds of a model, counted as the paper and its sources print them.

One clip through backbone, memory and head. Convolutions and matrix products count, one for a
multiplication with its addition; norms, pools, activations and sums do not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cmvl.layers.nonlocal_block import NonLocal, softmax_attention
from cmvl.model import VideoModel, as_maps, as_matrices, build_model
from cmvl.tasks import find_task

SIDE = 256  # pixels, the test crop of the printed figures


@dataclass(frozen=True)
class Cost:
    """Of one model: parameters, and the multiply-adds of its parts."""

    parameters: int
    backbone: int
    memory: int
    head: int

    @property
    def gflops(self) -> float:
        return (self.backbone + self.memory + self.head) / 1e9

    @property
    def flops(self) -> float:
        """Two a multiply-add."""
        return 2e9 * self.gflops

    @property
    def params(self) -> float:
        """In millions."""
        return self.parameters / 1e6

    @property
    def ratio(self) -> float:
        """To the same model without its memory (the column "FLOPs" of Table 1)."""
        return 1 + self.memory / (self.backbone + self.head)


def count(cfg: CfgNode, side: int = SIDE) -> Cost:
    """Of the config's model on clips of `side` pixels; in a second, with little memory."""
    with torch.device("meta"):  # shapes without values
        model = build_model(cfg, find_task(cfg.TASK).head).eval()
        clip = torch.zeros(1, 3, cfg.DATA.NUM_FRAMES, side, side)
    count_published_order(model)
    backbone, maps = multiply_adds(model.backbone, clip)
    # The memory has autocast contexts, which know no meta device; it is small enough for values.
    rest = nn.ModuleList([model.memory, model.head]).to_empty(device="cpu")
    maps = [torch.zeros(1, *m.shape) for m in maps]
    memory, X_hat = multiply_adds(lambda: collaborate(model, maps))
    box = torch.tensor([[0.0, 0.0, 0.0, side - 1.0, side - 1.0]])
    head, _ = multiply_adds(model.head, as_maps(X_hat, maps), box)
    parameters = sum(p.numel() for part in (model.backbone, rest) for p in part.parameters())
    return Cost(parameters, backbone, memory, head)


def collaborate(model: VideoModel, maps: list[Tensor]) -> list[Tensor]:
    """Push, Pop and g of `VideoModel.forward`."""
    X = as_matrices(maps)
    return model.memory.infuse(X, model.memory.pop(model.memory.push(X), X))


def count_published_order(model: nn.Module) -> None:
    """Let non-local blocks take (q k^T) v in this order, as all published counts do.

    Ours takes q (k^T v) where that is cheaper. Under a softmax there is no choice.
    """
    for module in model.modules():
        if isinstance(module, NonLocal):
            module.attention = softmax_attention


@torch.no_grad()
def multiply_adds(function: Callable, *args: Any) -> tuple[int, Any]:
    """Those of a call, and what it returns."""
    with FlopCounterMode(display=False) as counter:
        result = function(*args)
    return counter.get_total_flops() // 2, result
