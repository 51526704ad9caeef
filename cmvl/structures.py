"""What crosses from data to models: one batch type.

B videos, N clips of each (or V x S test views of one video), T frames, K classes, R boxes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class VideoItem:
    """One video as the data set hands it over.

    `clips` is None when the video could not be read and its absence is allowed
    (`TEST.SKIP_BROKEN`); `failures` names every video that could not be read on the way.
    """

    clips: Tensor | None  # uint8 (N, 3, T, H, W)
    label: Tensor  # () int64, or (K,) float multi-hot
    index: int
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoBatch:
    """B videos. `boxes` rows are (b * N + n, x1, y1, x2, y2) in clip pixels, or None."""

    clips: Tensor  # uint8 (B, N, 3, T, H, W)
    labels: Tensor  # (B,) int64, (B, K) multi-hot, or (R, K) with boxes
    index: Tensor  # (B,) int64: position of each video in its list
    boxes: Tensor | None = None
    failures: tuple[str, ...] = ()

    def to(self, device: torch.device) -> "VideoBatch":
        move = lambda t: t if t is None else t.to(device, non_blocking=True)  # noqa: E731
        return VideoBatch(
            move(self.clips), move(self.labels), self.index, move(self.boxes), self.failures
        )

    def pin_memory(self) -> "VideoBatch":
        """Called by `DataLoader(pin_memory=True)`."""
        pin = lambda t: t if t is None else t.pin_memory()  # noqa: E731
        return VideoBatch(
            pin(self.clips), pin(self.labels), self.index, pin(self.boxes), self.failures
        )


def collate(items: list[VideoItem]) -> VideoBatch:
    """Stack the videos that could be read; the failures of all items are kept."""
    read = [item for item in items if item.clips is not None]
    failures = tuple(message for item in items for message in item.failures)
    index = torch.tensor([item.index for item in read], dtype=torch.int64)
    if not read:
        return VideoBatch(torch.empty(0, dtype=torch.uint8), torch.empty(0), index, None, failures)
    clips = torch.stack([item.clips for item in read])
    return VideoBatch(clips, torch.stack([i.label for i in read]), index, None, failures)
