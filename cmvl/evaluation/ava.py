"""AVA's frame mAP at IoU 0.5, as each of its published programs computes it.

They differ in the order of matching, in how many detections of a frame count, and in which frames
count (`RULES`). A class's precision and recall come from all frames together; classes without
ground truth are left out of the mean. Boxes are compared in float64.
"""

import heapq
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmvl.data.ava_files import BoxRows
from cmvl.utils.errors import DataError

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rules:
    """What a published program does with a frame."""

    order: str  # of matching: file | score (later row first) | heap (score, then heapq's order)
    limit: int = 0  # rows of a frame that count, over all classes; 0: all
    only_listed: bool = False  # frames that the ground truth does not list are left out
    exclusions: bool = True  # excluded frames are left out
    whole_times: bool = True  # "902.5" is an error


RULES = {
    "pyslowfast": Rules("file"),
    "activitynet_2018": Rules("score"),
    "activitynet_2019": Rules("heap", limit=50),
    "activitynet_2020": Rules(
        "heap", limit=50, only_listed=True, exclusions=False, whole_times=False
    ),
}


@dataclass(frozen=True)
class FrameAP:
    """By class id; `ap` is NaN for a class without ground truth."""

    ap: dict[int, float]
    n_gt: dict[int, int]
    n_det: dict[int, int]  # detections that take part
    n_tp: dict[int, int]

    @property
    def mean(self) -> float:
        """mAP, 0..1; NaN if no class has ground truth."""
        values = [value for value in self.ap.values() if not np.isnan(value)]
        return sum(values) / len(values) if values else float("nan")


def frame_ap(
    truth: BoxRows,
    detections: BoxRows,
    ids: Collection[int],
    rules: Rules = RULES["pyslowfast"],
    excluded: Collection[int] = (),
    listed: Collection[int] = (),
) -> FrameAP:
    """AP of every class of `ids`; rows of other classes are dropped before anything else.

    `excluded` and `listed` are numbers of frames: excluded ones, and those of the ground truth's
    file, rows without boxes included.
    """
    classes = np.array(sorted(ids), np.int64)
    truth = truth.take(np.isin(truth.actions, classes))
    detections = detections.take(np.isin(detections.actions, classes))
    if rules.order == "heap":
        truth = truth.take(_heap_order(truth, 0))
    detections = detections.take(_matching_order(detections, rules))
    if rules.exclusions:
        out = np.array(sorted(excluded), np.int64)
        truth = truth.take(~np.isin(truth.frames, out))
        detections = detections.take(~np.isin(detections.frames, out))
    if rules.only_listed:
        detections = detections.take(np.isin(detections.frames, np.array(sorted(listed), np.int64)))
    x1, y1, x2, y2 = detections.boxes.T
    detections = detections.take((x1 < x2) & (y1 < y2))
    hits = match(truth, detections)
    ap, n_gt, n_det, n_tp = {}, {}, {}, {}
    for c in classes.tolist():
        mine = detections.actions == c
        n_gt[c] = int((truth.actions == c).sum())
        n_det[c], n_tp[c] = int(mine.sum()), int(hits[mine].sum())
        ap[c] = average_precision(detections.values[mine], hits[mine], n_gt[c])
    return FrameAP(ap, n_gt, n_det, n_tp)


def match(truth: BoxRows, detections: BoxRows) -> Flags:
    """Which detections, taken in their order, are true.

    A detection looks only at the box of its frame and class that it overlaps most (the first of
    equals): true if their IoU is 0.5 or more and no earlier detection took the box.
    """
    hits = np.zeros(len(detections), bool)
    best, overlap = _best_box(truth, detections)
    good = np.flatnonzero(overlap >= 0.5)
    _, first = np.unique(best[good], return_index=True)
    hits[good[first]] = True
    return hits


def average_precision(scores: NDArray[np.float64], hits: Flags, n_gt: int) -> float:
    """Area under the envelope of precision over recall, all points; of equal scores the later
    one counts as higher."""
    if n_gt == 0:
        return float("nan")
    true = hits[np.argsort(scores, kind="stable")[::-1]]
    precision = np.cumsum(true) / np.arange(1, len(true) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[true].sum() / n_gt)


def _best_box(truth: BoxRows, detections: BoxRows) -> tuple[Ints, NDArray[np.float64]]:
    """Row of `truth` that each detection overlaps most, and their IoU (-1: none to compare)."""
    best, overlap = np.full(len(detections), -1), np.full(len(detections), -1.0)
    span = max(truth.actions.max(initial=0), detections.actions.max(initial=0)) + 1
    boxes_of = truth.frames * span + truth.actions
    rows = np.argsort(boxes_of, kind="stable")
    wanted = detections.frames * span + detections.actions
    start = np.searchsorted(boxes_of[rows], wanted, "left")
    count = np.searchsorted(boxes_of[rows], wanted, "right") - start
    some = np.flatnonzero(count)
    if not len(some):
        return best, overlap
    # One pair (detection, box) after another, those of a detection together.
    count, start = count[some], start[some]
    offsets = np.cumsum(count) - count
    detection = np.repeat(some, count)
    pair_box = rows[np.arange(count.sum()) - np.repeat(offsets - start, count)]
    iou = _iou(detections.boxes[detection], truth.boxes[pair_box])
    top = np.maximum.reduceat(iou, offsets)
    places = np.where(iou == np.repeat(top, count), np.arange(len(iou)), len(iou))
    best[some] = pair_box[np.minimum.reduceat(places, offsets)]
    overlap[some] = top
    return best, overlap


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of the boxes (n, 4) of a, all of some area, with those of b."""
    turned = (b[:, 0] > b[:, 2]) | (b[:, 1] > b[:, 3])
    if turned.any():
        raise DataError(
            f"the ground truth has a box with x1 > x2 or y1 > y2: {b[turned][0].tolist()}"
        )
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    inter = np.maximum(high - low, 0).prod(axis=1)
    return inter / ((_area(a) + _area(b)) - inter)


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _matching_order(rows: BoxRows, rules: Rules) -> Ints:
    """Frames in the order of their first row; inside a frame as the rules say."""
    if rules.order == "heap":
        return _heap_order(rows, rules.limit)
    _, first, frame = np.unique(rows.frames, return_index=True, return_inverse=True)
    number = np.arange(len(rows))
    if rules.order == "file":
        return np.lexsort((number, first[frame]))
    return np.lexsort((-number, -rows.values, first[frame]))


def _heap_order(rows: BoxRows, limit: int) -> Ints:
    """The order that Python's `heapq` leaves when a frame's rows are pushed one by one.

    The programs of 2019 and 2020 keep a frame's rows so, as (score, action, y1, x1, y2, x2), and
    then sort by score alone. With a limit, a row enters a full heap only if its score beats the
    lowest, which leaves.
    """
    heaps: dict[int, list] = defaultdict(list)
    columns = (rows.values, rows.actions, *rows.boxes.T[[1, 0, 3, 2]], np.arange(len(rows)))
    entries = zip(*(column.tolist() for column in columns), strict=True)
    for frame, entry in zip(rows.frames.tolist(), entries, strict=True):
        heap = heaps[frame]
        if not limit or len(heap) < limit:
            heapq.heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapq.heapreplace(heap, entry)
    kept = (sorted(heap, key=lambda entry: -entry[0]) for heap in heaps.values())
    return np.array([entry[-1] for heap in kept for entry in heap], np.int64)
