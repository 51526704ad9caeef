"""What every backbone is: clips in, one map per pathway out."""

from collections.abc import Sequence

import torch
from fvcore.common.registry import Registry
from torch import Tensor, nn

BACKBONES = Registry("BACKBONES")  # classes with a classmethod from_cfg(cfg)
TORCHVISION = "torchvision/"


class Backbone(nn.Module):
    """f of the paper. A subclass sets `dims` and `stride` and has `extract`."""

    dims: tuple[int, ...]  # channels d_p of each pathway's map
    stride: int  # pixels of the clip per position of a map
    blocks: tuple[type[nn.Module], ...] = ()  # compiled one by one; (): the whole at once

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        """RGB mean and deviation of pixels in 0..1."""
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            values = torch.tensor(list(values), dtype=torch.get_default_dtype())
            self.register_buffer(name, values.view(-1, 1, 1, 1), persistent=False)

    def forward(self, clips: Tensor) -> list[Tensor]:
        """(B, 3, T, H, W), uint8 or already normalised -> maps (B, d_p, t_p, h_p, w_p)."""
        return self.extract(self.normalise(clips))

    def normalise(self, clips: Tensor) -> Tensor:
        """uint8 pixels to zero mean and unit deviation; a floating tensor stays as it is."""
        if clips.is_floating_point():
            return clips
        pixels = clips.to(next(self.parameters()).dtype)
        return pixels.div_(255).sub_(self.mean).div_(self.std)

    def extract(self, x: Tensor) -> list[Tensor]:
        """Normalised clips (B, 3, T, H, W) -> maps, slow pathway first."""
        raise NotImplementedError
