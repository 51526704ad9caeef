"""What crosses from data to models: one batch type.

B videos, N clips of each (or V x S test views of one video), T frames, K classes, R boxes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import default_collate


@dataclass(frozen=True)
class KeyFrame:
    """A second of a video, and the boxes in which actions are asked for."""

    video: str
    second: int
    boxes: Tensor  # (r, 4) float64, x1, y1, x2, y2 in 0..1 of the picture
    index: int = -1  # its position in the list of key frames


@dataclass(frozen=True)
class VideoItem:
    """One video as the data set hands it over.

    `clips` is None when the video could not be read and its absence is allowed
    (`TEST.SKIP_BROKEN`); `failures` names every video that could not be read on the way.
    """

    clips: Tensor | None  # uint8 (N, 3, T, H, W)
    label: Tensor  # () int64, or (K,) float multi-hot, or (R, K) with boxes
    index: int
    failures: tuple[str, ...] = ()
    boxes: Tensor | None = None  # (R, 5), rows (n, x1, y1, x2, y2) in clip pixels
    keyframe: KeyFrame | None = None  # whose boxes these are, in tests
    clip_labels: Tensor | None = None  # (N, K) multi-hot, where clips differ from their video


@dataclass(frozen=True)
class VideoBatch:
    """B videos. `boxes` rows are (b * N + n, x1, y1, x2, y2) in clip pixels, or None."""

    clips: Tensor  # uint8 (B, N, 3, T, H, W)
    labels: Tensor  # (B,) int64, (B, K) multi-hot or mixed, or (R, K) with boxes
    index: Tensor  # (B,) int64: position of each video in its list
    boxes: Tensor | None = None
    failures: tuple[str, ...] = ()
    keyframes: tuple[KeyFrame, ...] = ()  # of each video, in tests of boxes
    clip_labels: Tensor | None = None  # (B, N, K) multi-hot, where clips differ from their video
    lost: tuple[int, ...] = ()  # positions of videos left out, for they could not be read

    @property
    def targets(self) -> tuple[Tensor, ...]:
        """What the task's loss takes besides logits."""
        return (self.labels,) if self.clip_labels is None else (self.labels, self.clip_labels)

    def to(self, device: torch.device) -> "VideoBatch":
        move = lambda t: t if t is None else t.to(device, non_blocking=True)  # noqa: E731
        return self._with(move)

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Its memory on a GPU is not used again before `stream` is through with it."""
        for tensor in (self.clips, *self.targets, self.boxes):
            if tensor is not None:
                tensor.record_stream(stream)

    def pin_memory(self) -> "VideoBatch":
        """Called by `DataLoader(pin_memory=True)`."""
        pin = lambda t: t if t is None else t.pin_memory()  # noqa: E731
        return self._with(pin)

    def _with(self, change: Callable) -> "VideoBatch":
        names = ("clips", "labels", "boxes", "clip_labels")
        return replace(self, **{name: change(getattr(self, name)) for name in names})


class Prediction(NamedTuple):
    """What a task's predictor says of one video, or of one key frame."""

    scores: Tensor  # (V, S, K) of the views of a video, or (r, K) of boxes
    target: Tensor | KeyFrame  # labels (1, ...), or whose boxes these are
    index: int  # position in the list


def collate(items: list[VideoItem]) -> VideoBatch:
    """Stack the videos that could be read; the failures of all items are kept."""
    read = [item for item in items if item.clips is not None]
    lost = tuple(item.index for item in items if item.clips is None)
    failures = tuple(message for item in items for message in item.failures)
    index = torch.tensor([item.index for item in read], dtype=torch.int64)
    if not read:
        nothing = torch.empty(0, dtype=torch.uint8), torch.empty(0)
        return VideoBatch(*nothing, index, failures=failures, lost=lost)
    clips = (
        read[0].clips.unsqueeze(0)  # in a worker in shared memory already, if of a test
        if len(read) == 1
        else default_collate([item.clips for item in read])  # from a worker, into shared memory
    )
    labels = [item.label for item in read]
    if read[0].boxes is None:
        per_clip = [item.clip_labels for item in read if item.clip_labels is not None]
        return VideoBatch(
            clips,
            torch.stack(labels),
            index,
            failures=failures,
            clip_labels=torch.stack(per_clip) if per_clip else None,
            lost=lost,
        )
    shift = torch.tensor([clips.shape[1], 0, 0, 0, 0])  # clip n of video b is clip b * N + n
    boxes = torch.cat([item.boxes + b * shift for b, item in enumerate(read)])
    keyframes = tuple(item.keyframe for item in read if item.keyframe is not None)
    return VideoBatch(clips, torch.cat(labels), index, boxes, failures, keyframes, lost=lost)
