"""How the frames of a clip are cut: scale, crop and flip for training; scale and crops for tests.

A transform first says what is to be done (`View`s, all randomness is there); a `View` then cuts
frame after frame as the decoder hands them over. Resizing is bilinear without antialiasing, on
uint8 (OpenCV), as in PySlowFast but for rounding. Boxes are (R, 4) rows x1, y1, x2, y2 in pixels.
"""

from dataclasses import dataclass
from math import ceil
from typing import Protocol

import cv2
import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from cmvl.data.planes import Planes, Scratch, resized
from cmvl.utils.errors import UserError

Frame = NDArray[np.uint8]  # (height, width, 3)


@dataclass(frozen=True)
class View:
    """Cut `window` out of a frame, resize it to `size`, cut the crops out of that, mirror them."""

    window: tuple[int, int, int, int]  # y, x, height, width in the frame
    size: tuple[int, int]  # height, width
    crop: int  # side of the square crops; 0: all of the resized window
    offsets: tuple[tuple[int, int], ...]  # y, x of every crop in the resized window
    flip: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the crops."""
        return (self.crop, self.crop) if self.crop else self.size

    def cut(self, frame: Frame | Planes, scratch: Scratch | None = None) -> list[Frame]:
        """(H, W, 3) -> one (*shape, 3) per offset, good until `scratch` is used again."""
        scratch = scratch or Scratch()
        if isinstance(frame, Planes):
            picture = frame.resized(self.window, self.size, scratch)
        else:
            picture = resized(frame, self.window, self.size)
        if self.flip:
            picture = cv2.flip(picture, 1, dst=scratch("flipped", picture.shape))
        h, w = self.shape
        # In one piece, or taking its colours apart costs seven times as much.
        return [np.ascontiguousarray(picture[oy : oy + h, ox : ox + w]) for oy, ox in self.offsets]

    def boxes(self, boxes: NDArray[np.float64], i: int = 0) -> NDArray[np.float64]:
        """Boxes of the frame in the pixels of crop `i`; not clipped to it."""
        y, x, height, width = self.window
        # One factor, that of the long side (PySlowFast), though rounding makes the sides' differ.
        scale = self.size[1] / width if width >= height else self.size[0] / height
        moved = (boxes - [x, y, x, y]) * scale
        if self.flip:
            moved[:, [0, 2]] = self.size[1] - moved[:, [2, 0]]
        oy, ox = self.offsets[i]
        return moved - [ox, oy, ox, oy]


class Transform(Protocol):
    """What a data set asks of a transform."""

    crop: int  # side of the crops
    crops: int  # S, crops of every clip

    def views(self, n: int, height: int, width: int, rng: np.random.Generator) -> list[View]:
        """One View per clip, for a video of this size."""


class TrainTransform:
    """Random short side, square crop and flip: the same for all frames of a clip.

    The short side is drawn from `scales` (`inverse`: its reciprocal is drawn uniformly), then the
    crop's place. Only the crop is resized: its window is drawn in the frame's own pixels, so size
    and place are those of 'resize, then crop' rounded to two source pixels, the grid on which the
    colour of video lies. `shared`: one draw for all clips of a video.
    """

    crops = 1

    def __init__(
        self,
        scales: tuple[int, int],
        crop: int,
        flip: bool = True,
        inverse: bool = False,
        shared: bool = False,
    ):
        if not 0 < crop <= scales[0] <= scales[1]:
            raise UserError(f"crop {crop} must fit into short sides from {scales[0]}..{scales[1]}")
        self.scales, self.crop, self.flip = scales, crop, flip
        self.inverse, self.shared = inverse, shared

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "TrainTransform":
        return cls(
            scales=tuple(cfg.DATA.TRAIN_JITTER_SCALES),
            crop=cfg.DATA.TRAIN_CROP_SIZE,
            flip=cfg.DATA.RANDOM_FLIP,
            inverse=cfg.DATA.INV_UNIFORM_SAMPLE,
            shared=cfg.AUG.SHARED,
        )

    def views(self, n: int, height: int, width: int, rng: np.random.Generator) -> list[View]:
        if self.shared:
            return [self._draw(height, width, rng)] * n
        return [self._draw(height, width, rng) for _ in range(n)]

    def _draw(self, height: int, width: int, rng: np.random.Generator) -> View:
        low, high = self.scales
        scale = 1 / rng.uniform(1 / high, 1 / low) if self.inverse else rng.uniform(low, high)
        short = min(height, width)
        side = min(2 * max(1, round(short * self.crop / round(scale) / 2)), short)
        y, x = (2 * rng.integers((room - side) // 2 + 1) for room in (height, width))
        flip = bool(rng.random() < 0.5) and self.flip
        size = (self.crop, self.crop)
        return View((int(y), int(x), side, side), size, self.crop, ((0, 0),), flip)


class EvalTransform:
    """Short side to a fixed size, then 1 centre crop or 3 crops along the long side. No chance."""

    def __init__(self, short_side: int, crop: int, crops: int):
        if not 0 < crop <= short_side or crops not in (1, 3):
            raise UserError(
                f"crop {crop} must fit into the short side {short_side}, and {crops} crops "
                "must be 1 or 3"
            )
        self.short_side, self.crop, self.crops = short_side, crop, crops

    def views(
        self, n: int, height: int, width: int, rng: np.random.Generator | None = None
    ) -> list[View]:
        size = scaled_size(height, width, self.short_side)
        places = range(3) if self.crops == 3 else (1,)
        offsets = tuple(crop_offset(*size, self.crop, i) for i in places)
        return [View((0, 0, height, width), size, self.crop, offsets)] * n


class WholeTransform:
    """Short side to a fixed size, nothing cut off: AVA's test."""

    crop, crops = 0, 1

    def __init__(self, short_side: int):
        self.short_side = short_side

    def views(
        self, n: int, height: int, width: int, rng: np.random.Generator | None = None
    ) -> list[View]:
        size = scaled_size(height, width, self.short_side)
        return [View((0, 0, height, width), size, self.crop, ((0, 0),))] * n


def scaled_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) with the short side as asked; the long one is rounded down (PySlowFast)."""
    if min(height, width) == short_side:
        return height, width  # the quotients below may round down to one less
    if height < width:
        return short_side, int(width / height * short_side)
    return int(height / width * short_side), short_side


def crop_offset(height: int, width: int, crop: int, i: int) -> tuple[int, int]:
    """(y, x) of crop 0, 1 or 2: start, centre, end of the long side; centred across it."""
    y, x = ceil((height - crop) / 2), ceil((width - crop) / 2)
    if height > width:
        return (0, y, height - crop)[i], x
    return y, (0, x, width - crop)[i]
