"""Actions of the people in one's own video: boxes in, scores out."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode
from numpy.typing import NDArray
from torch import nn

from cmvl.data.ava import Ava, Window
from cmvl.data.ava_boxes import BoxTable
from cmvl.data.ava_files import NO_ACTION, BoxRows, Frames, box_rows, read_boxes
from cmvl.data.ava_frames import Places
from cmvl.data.build import build_options
from cmvl.data.decode import open_video
from cmvl.data.transforms import WholeTransform
from cmvl.inference import build_box_predictor
from cmvl.model import VideoModel
from cmvl.structures import collate
from cmvl.utils.errors import DataError, UserError

DETECTOR = "fasterrcnn_resnet50_fpn_v2"  # of torchvision
PERSON = 1  # its label


@dataclass(frozen=True)
class Actions:
    """A second's boxes (r, 4) in 0..1, and scores (r, K); class id c is column c - 1."""

    second: int
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]

    def best(self, i: int, names: Mapping[int, str], threshold: float) -> list[tuple[str, float]]:
        """(name, score) of box i, those of `threshold` or more, the highest first."""
        row = self.scores[i]
        found = [(names[c], float(row[c - 1])) for c in names if row[c - 1] >= threshold]
        return sorted(found, key=lambda pair: -pair[1])


def predict_boxes(
    cfg: CfgNode, model: VideoModel, video: Path, boxes: BoxRows, frames: Frames
) -> list[Actions]:
    """The actions in `boxes`, whose frames are (video's name without suffix, second).

    Every second of the video feeds the memory, whether it has boxes or not.
    """
    with open_video(video) as film:
        end, name = film.last_second(), video.stem
    table = BoxTable([boxes], frames, cfg.MODEL.NUM_CLASSES)
    if name not in table.videos:
        raise DataError(
            f"the boxes are of {', '.join(table.videos[:5]) or 'no video'}; expected some of "
            f"{name!r}, which is the video's name without suffix"
        )
    one = np.array([v == name for v in table.videos])
    count = len(table.videos)
    numbers, seconds = table.keyframes()
    own = seconds[one[numbers]]
    if not ((own >= 0) & (own <= end)).any():
        raise DataError(
            f"{video}: the boxes are at seconds {own.min()} to {own.max()}, the video has seconds "
            f"0 to {end}; they count from its start"
        )
    dataset = Ava(
        table,
        Places(str(video.parent), [video.name] * count, [None] * count, one),
        (np.zeros(count, np.int64), np.full(count, end)),
        Window(cfg.VIDEO.NUM_CLIPS // 2, cfg.VIDEO.WINDOW),
        0.0,
        "test",
        **build_options(cfg, "test") | {"transform": WholeTransform(cfg.DATA.TEST_CROP_SIZE)},
    )
    device = next(model.parameters()).device
    batches = (collate([dataset[i]]).to(device) for i in range(len(dataset)))
    predictor = build_box_predictor(cfg, "test")
    return [
        Actions(keyframe.second, keyframe.boxes.numpy(), scores.double().cpu().numpy())
        for scores, keyframe, _ in predictor(model.eval(), batches)
    ]


def read_persons(path: Path, threshold: float) -> tuple[BoxRows, Frames]:
    """Boxes of a CSV in PySlowFast's format, scored `threshold` or more."""
    frames = Frames()
    rows, _ = read_boxes(str(path), frames)
    return rows.take(rows.values >= threshold), frames


def find_persons(video: Path, detector: nn.Module, threshold: float) -> tuple[BoxRows, Frames]:
    """People in the frame of every full second."""
    frames, rows = Frames(), []
    with open_video(video) as film:
        info = film.info
        centres = film.at(np.arange(film.last_second() + 1)).tolist()
        found = {k: list(_persons(detector, frame, threshold)) for k, frame in film.frames(centres)}
    for second, k in enumerate(centres):  # of which several may have one frame
        frame = frames.number(video.stem, second)
        for box, score in found[k]:
            rows.append((frame, tuple(box / ([info.width, info.height] * 2)), NO_ACTION, score))
    if not rows:
        raise DataError(f"{video}: nobody was found with a score of {threshold} or more")
    return box_rows(rows), frames


def load_detector(device: torch.device) -> nn.Module:
    """torchvision's Faster R-CNN, if its weights are at hand; nothing is downloaded."""
    from torchvision.models import get_model, get_model_weights

    weights = get_model_weights(DETECTOR).DEFAULT
    path = os.path.join(torch.hub.get_dir(), "checkpoints", os.path.basename(weights.url))
    if not os.path.isfile(path):
        raise UserError(
            f"{path}: the weights of the person detector are not there. Give boxes in a CSV (rows "
            f"'video,second,x1,y1,x2,y2,,score', in 0..1), or put {weights.url} there"
        )
    model = get_model(DETECTOR, weights=None, weights_backbone=None)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.to(device).eval()


@torch.inference_mode()
def _persons(
    detector: nn.Module, picture: NDArray[np.uint8], threshold: float
) -> Iterator[tuple[NDArray[np.float64], float]]:
    """(x1, y1, x2, y2 in pixels, score) of every person in an RGB picture."""
    device = next(detector.parameters()).device
    image = torch.from_numpy(np.ascontiguousarray(picture)).to(device).permute(2, 0, 1) / 255
    (found,) = detector([image])
    people = (found["labels"] == PERSON) & (found["scores"] >= threshold)
    boxes = found["boxes"][people].double().cpu().numpy()
    yield from zip(boxes, found["scores"][people].tolist(), strict=True)
