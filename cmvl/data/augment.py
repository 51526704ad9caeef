"""Changes of colour and shape of whole training clips, from torchvision: off unless asked for."""

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor


class ClipAugment:
    """RandAugment, colour jitter, random erasing, in this order; one draw for a clip's frames.

    `ops`: operations of RandAugment, 0 for none. `colour`: strength of brightness, contrast and
    saturation. `erase`: probability of a rectangle of `grey`, 0..255. `shared`: one draw for all
    clips of a video.
    """

    def __init__(
        self,
        ops: int = 0,
        magnitude: int = 9,
        colour: float = 0.0,
        erase: float = 0.0,
        grey: tuple[float, ...] = (114.75, 114.75, 114.75),
        shared: bool = False,
    ):
        from torchvision.transforms import v2  # slow to import

        steps: list[torch.nn.Module] = []
        if ops:
            steps.append(v2.RandAugment(ops, magnitude, fill=[round(value) for value in grey]))
        if colour:
            steps.append(v2.ColorJitter(colour, colour, colour))
        if erase:
            steps.append(v2.RandomErasing(erase, value=[round(value) for value in grey]))
        self.transform, self.shared = torch.nn.Sequential(*steps), shared

    def __call__(self, clips: Tensor, rng: np.random.Generator) -> Tensor:
        """uint8 (N, 3, T, c, c) -> the same; all randomness comes from `rng`."""
        seeds = rng.integers(2**31, size=1 if self.shared else len(clips)).tolist()
        if self.shared:
            seeds *= len(clips)
        # torchvision draws from torch's global numbers, which are the model's.
        with torch.random.fork_rng(devices=[]):
            return torch.stack(
                [self._clip(clip, seed) for clip, seed in zip(clips, seeds, strict=True)]
            )

    def _clip(self, clip: Tensor, seed: int) -> Tensor:
        torch.default_generator.manual_seed(seed)  # a GPU's numbers stay as they are
        return self.transform(clip.transpose(0, 1).contiguous()).transpose(0, 1)


def build_augment(cfg: CfgNode) -> ClipAugment | None:
    """What AUG asks for; None if nothing."""
    aug = cfg.AUG
    if not (aug.RANDAUGMENT_OPS or aug.COLOR_JITTER or aug.RE_PROB):
        return None
    grey = tuple(255 * value for value in cfg.DATA.MEAN)
    return ClipAugment(
        aug.RANDAUGMENT_OPS,
        aug.RANDAUGMENT_MAGNITUDE,
        aug.COLOR_JITTER,
        aug.RE_PROB,
        grey,
        aug.SHARED,
    )
