"""The mAP of detected actions: collects key frames, compares, writes the official files.

r boxes of a key frame, K classes; class id c has the scores of column c - 1.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray
from torch import Tensor

from cmvl.data.ava_files import (
    BoxRows,
    Frames,
    build_ava_paths,
    read_boxes,
    read_excluded,
    read_label_map,
)
from cmvl.evaluation.ava import RULES, FrameAP, frame_ap
from cmvl.evaluation.results import Listing
from cmvl.evaluation.views import checked
from cmvl.structures import KeyFrame
from cmvl.utils.errors import ConfigError, DataError
from cmvl.utils.logging import logger

CONFIDENT = 0.5  # detections above it are counted in the report


class FrameMeanAP:
    """Frame mAP in percent over the classes of `names` that have ground truth.

    `every`: only key frames whose second it divides count. Raises DataError for a truth without
    any.
    """

    def __init__(
        self,
        truth_file: str,
        names: Mapping[int, str],
        excluded_file: str = "",
        rules: str = "pyslowfast",
        every: int = 1,
    ):
        self.names, self.rules, self.every = names, RULES[rules], every
        self.frames, whole = Frames(), self.rules.whole_times
        self.truth, self.listed = read_boxes(truth_file, self.frames, whole)
        self.excluded: set[int] = set()
        if excluded_file:
            self.excluded = read_excluded(excluded_file, self.frames, whole)
        self.truth = self.truth.take(self._counting()[self.truth.frames])
        if not np.isin(self.truth.actions, list(names)).any():
            raise DataError(
                f"{truth_file}: no box of an evaluated class on a key frame that counts"
            )
        self._keyframes: list[int] = []
        self._boxes: list[NDArray[np.float64]] = []
        self._scores: list[NDArray[np.float64]] = []

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str = "test") -> "FrameMeanAP":
        paths, classes = build_ava_paths(cfg, split), cfg.MODEL.NUM_CLASSES
        names = {c: str(c) for c in range(1, classes + 1)}
        if paths.label_map:
            names = read_label_map(paths.label_map)
        if max(names) > classes:
            raise ConfigError(
                f"MODEL.NUM_CLASSES is {classes}, but {paths.label_map} has id {max(names)}: set "
                f"MODEL.NUM_CLASSES {max(names)}"
            )
        every = 1 if split == "test" or cfg.AVA.FULL_TEST_ON_VAL else 4
        return cls(paths.evaluated, names, paths.excluded, cfg.AVA.EVALUATOR, every)

    def update(self, scores: Tensor, target: KeyFrame, index: int = 0) -> None:
        """scores (r, K) of the boxes of a key frame. NaN scores raise."""
        self._keyframes.append(self.frames.number(target.video, target.second))
        self._boxes.append(target.boxes.double().numpy())
        self._scores.append(checked(scores).numpy())

    def compute(self) -> dict[str, float]:
        """`mAP` in percent, the classes in it, key frames and boxes seen."""
        detections = self._detections()
        detections = detections.take(self._counting()[detections.frames])
        self.result = frame_ap(
            self.truth, detections, self.names, self.rules, self.excluded, self.listed
        )
        if self.result.mean == 0:
            logger.warning(why_zero(self.truth, detections, self.frames, self.result))
        seen = [v for v in self.result.ap.values() if not np.isnan(v)]
        boxes = sum(len(b) for b in self._boxes)
        mean = 100 * self.result.mean
        return {
            "mAP": mean,
            "classes": len(seen),
            "keyframes": len(self._keyframes),
            "boxes": boxes,
        }

    def by_position(self) -> list[float]:
        return []

    def save(self, folder: Path, listing: Listing | None = None) -> str:
        """`detections.csv` in the official format and `per_class.csv`; returns the report."""
        with (folder / "detections.csv").open("w", newline="") as file:
            csv.writer(file).writerows(self._official())
        result = self.result
        with (folder / "per_class.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "name", "AP", "ground_truth", "detections", "true_positives"])
            for c, name in sorted(self.names.items()):
                ap = "n/a" if np.isnan(result.ap[c]) else f"{100 * result.ap[c]:.4f}"
                table.writerow([c, name, ap, result.n_gt[c], result.n_det[c], result.n_tp[c]])
        return report(result, self.names, self._detections())

    def _counting(self) -> NDArray[np.bool_]:
        """Of every frame seen so far: does it count?"""
        times = np.array([time for _, time in self.frames.keys()], np.float64)
        return times % self.every == 0

    def _detections(self) -> BoxRows:
        """One row per box and evaluated class, in the order of arrival."""
        ids = np.array(sorted(self.names), np.int64)
        n = [len(boxes) for boxes in self._boxes]
        frames = np.repeat(np.array(self._keyframes, np.int64), n)
        boxes = np.concatenate(self._boxes) if n else np.empty((0, 4))
        scores = np.concatenate(self._scores)[:, ids - 1] if n else np.empty((0, len(ids)))
        return BoxRows(
            np.repeat(frames, len(ids)),
            np.repeat(boxes, len(ids), axis=0),
            np.tile(ids, len(boxes)),
            scores.ravel(),
        )

    def _official(self) -> Iterator[list[str | int]]:
        keys, ids = self.frames.keys(), sorted(self.names)
        for frame, boxes, scores in zip(self._keyframes, self._boxes, self._scores, strict=True):
            video, second = keys[frame]
            for box, row in zip(boxes.tolist(), scores.tolist(), strict=True):
                place = [video, f"{int(second):04d}", *(f"{x:.9g}" for x in box)]
                yield from ([*place, c, f"{row[c - 1]:.9g}"] for c in ids)


def report(result: FrameAP, names: Mapping[int, str], detections: BoxRows) -> str:
    """What a low mAP should be looked at with first."""
    n_gt, n_tp = sum(result.n_gt.values()), sum(result.n_tp.values())
    confident = int((detections.values >= CONFIDENT).sum())
    without = [names[c] for c, n in sorted(result.n_gt.items()) if n == 0]
    ranked = sorted((ap, c) for c, ap in result.ap.items() if not np.isnan(ap))
    show = lambda some: ", ".join(f"{names[c]} {100 * ap:.1f}" for ap, c in some)  # noqa: E731
    return "\n".join(
        [
            f"ground truth: {n_gt} actions in boxes; detections: {sum(result.n_det.values())}, "
            f"{confident} of them with score {CONFIDENT} or more",
            f"found at IoU 0.5, whatever the score: {n_tp} of {n_gt} ({100 * n_tp / n_gt:.1f} %)",
            f"best classes: {show(ranked[:-4:-1])}; worst: {show(ranked[:3])}",
            f"n/a, without ground truth: {', '.join(without) or 'none'}",
        ]
    )


def why_zero(truth: BoxRows, detections: BoxRows, frames: Frames, result: FrameAP) -> str:
    """The likeliest cause of mAP 0, with an example of each side."""
    if not len(detections):
        return "mAP is 0: there is not one detection; is AVA.DETECTION_SCORE_THRESH too high?"
    keys = frames.keys()
    shared = np.isin(detections.frames, truth.frames)
    if not shared.any():
        ours, theirs = keys[detections.frames[0]], keys[truth.frames[0]]
        return (
            f"mAP is 0: none of the {len(detections)} detections is on a frame of the ground "
            f"truth; detections have e.g. {ours}, the ground truth {theirs}. Do video names and "
            "seconds agree (902 against 0902 is no matter)?"
        )
    if detections.boxes.max() > 2:
        return (
            f"mAP is 0: detected boxes reach {detections.boxes.max():g}, but boxes are in 0..1 of "
            "the picture; are yours in pixels?"
        )
    return (
        f"mAP is 0: {int(shared.sum())} detections are on frames of the ground truth, "
        f"{sum(result.n_tp.values())} of them overlap a box of their class by IoU 0.5; are boxes "
        "x1, y1, x2, y2, from the top left corner?"
    )
