"""AVA and data sets in its format: boxes with actions at one key frame per second (Sec. 4.5).

Training: the N clips of a window around second t, `stride` seconds apart, each with its own
boxes; seconds beyond the annotated range are its first or last. Clips without boxes feed the
memory alone. Tests: one clip after another, in the order of time, for the window that
`cmvl.inference.detect_video` rolls over them.
"""

from contextlib import ExitStack

import numpy as np
import torch
from fvcore.common.config import CfgNode
from numpy.typing import NDArray
from torch import Tensor

from cmvl.data.ava_boxes import BoxTable, read_table
from cmvl.data.ava_files import SECONDS, AvaPaths, build_ava_paths, map_names
from cmvl.data.ava_frames import Places, find_places
from cmvl.data.ava_keyframes import KeyFrames, Seconds, Window
from cmvl.data.build import DATASETS, build_options
from cmvl.data.dataset import VideoDataset, cut_clips
from cmvl.data.frames import FrameSource, open_source
from cmvl.data.sampling import keyframe_indices
from cmvl.data.transforms import View, WholeTransform
from cmvl.data.workers import holding
from cmvl.structures import KeyFrame, VideoItem
from cmvl.utils.errors import ConfigError, DataError, VideoError
from cmvl.utils.logging import logger


@DATASETS.register()
class Ava(VideoDataset):
    """Boxes as `VideoItem.boxes`, labels (R, K) multi-hot; see the module for what an item is."""

    tasks = ("detection",)

    def __init__(
        self,
        table: BoxTable,
        places: Places,
        ranges: tuple[Seconds, Seconds],  # first and last second of every video of the table
        window: Window,
        start_second: float,
        split: str,
        every: int = 1,
        **options,
    ):
        """`every`: val and test ask for the boxes of seconds it divides, and of no others."""
        self.table, self.places, self.ranges, self.window = table, places, ranges, window
        self.start_second, self.every = start_second, every
        records = self._keyframes(split)
        super().__init__(records, split, **options)
        self._stack, self._opened = ExitStack(), -1

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str) -> "Ava":
        """Raises DataError for files that cannot be used, naming file and line."""
        ava, paths = cfg.AVA, build_ava_paths(cfg, split)
        if cfg.AUG.RANDAUGMENT_OPS:
            raise ConfigError(
                f"AUG.RANDAUGMENT_OPS {cfg.AUG.RANDAUGMENT_OPS}: some of its operations move the "
                "pixels away from their boxes; AUG.COLOR_JITTER and AUG.RE_PROB do not"
            )
        if cfg.VIDEO.NUM_CLIPS % 2 == 0:
            raise ConfigError(
                f"VIDEO.NUM_CLIPS {cfg.VIDEO.NUM_CLIPS}: a window has as many key frames before "
                "the one asked for as after it, so their number is odd"
            )
        table = build_table(cfg, split, paths)
        options = build_options(cfg, split)
        if split != "train":
            options["transform"] = WholeTransform(cfg.DATA.TEST_CROP_SIZE)
        dataset = cls(
            table,
            find_places(table.videos, paths),
            annotated_ranges(table, ava.KEYFRAME_RANGE),
            Window(cfg.VIDEO.NUM_CLIPS // 2, cfg.VIDEO.WINDOW),
            ava.START_SECOND,
            split,
            4 if split == "val" and not ava.FULL_TEST_ON_VAL else 1,
            **options,
        )
        dataset.records.class_names = map_names(paths.label_map, cfg.MODEL.NUM_CLASSES)
        return dataset

    def __str__(self) -> str:
        videos = len(np.unique(self.records.video))
        w, stride = self.window.w, self.window.stride
        return (
            f"{len(self)} key frames of {videos} videos of {self.places.root}, windows of "
            f"{2 * w + 1} at {stride} s"
        )

    def shard(self, rank: int, ranks: int) -> NDArray[np.int64]:
        """Whole videos: a window's memory is gathered in one process."""
        return np.flatnonzero(np.unique(self.records.video, return_inverse=True)[1] % ranks == rank)

    def unit(self, index: int) -> int:
        """The number of its video."""
        return int(self.records.video[index])

    def _keyframes(self, split: str) -> KeyFrames:
        """Training: every key frame with boxes. Tests: those and all that their windows hold."""
        video, second = self.table.keyframes()
        first, last = (limit[video] for limit in self.ranges)
        asked = (second >= first) & (second <= last) & self.places.there[video]
        asked &= (second % self.every == 0) if split != "train" else True
        video, second = video[asked], second[asked]
        if not len(video):
            raise DataError(
                f"{self.places.root}: no key frame with boxes is left of the {len(asked)} in the "
                f"box files: seconds outside AVA.KEYFRAME_RANGE do not count, nor in validations "
                "those not divisible by 4 (unless AVA.FULL_TEST_ON_VAL True)"
            )
        if split != "train":
            seconds = self.window.around(second, first[asked], last[asked])
            codes = np.unique(video[:, None] * SECONDS + seconds)
            video, second = codes // SECONDS, codes % SECONDS
        return KeyFrames(
            self.places.root, self.table.videos, self.places, video, second, self.table.fingerprint
        )

    def _label(self, index: int) -> Tensor:
        return torch.empty(0, self.table.num_classes)  # of a key frame that could not be read

    def _load(
        self, index: int, rng: np.random.Generator, failures: list[str] | tuple = ()
    ) -> VideoItem:
        v, t = int(self.records.video[index]), int(self.records.second[index])
        seconds = np.array([t])
        if self.split == "train":
            seconds = self.window.around(seconds, *(limit[[v]] for limit in self.ranges))[0]
        with holding(self.held, index):
            video = self._open(v)
            centres = self._centres(video, seconds)
            stride = self.sampling_rate * video.info.fps / self.target_fps
            indices = keyframe_indices(centres, self.num_frames, stride, video.info.frames)
            size = video.info.height, video.info.width
            views = self.transform.views(len(seconds), *size, rng)
            clips = cut_clips(video, indices, views)
        if self.augment:  # in training alone
            clips = self.augment(clips, rng)
        found = [self._boxes(v, s, n, views[n], size) for n, s in enumerate(seconds.tolist())]
        boxes, labels = (torch.cat(part) for part in zip(*found, strict=True))
        keyframe = None
        if self.split != "train":
            asked = torch.from_numpy(self.table.boxes(v, t)[: self._shown(t)])
            keyframe = KeyFrame(self.table.videos[v], t, asked, index)
        return VideoItem(clips, labels, index, tuple(failures), boxes=boxes, keyframe=keyframe)

    def _shown(self, second: int) -> int | None:
        """How many boxes of a key frame are asked for: none (0) or all (None)."""
        return None if self.split == "train" or second % self.every == 0 else 0

    def _boxes(
        self, v: int, second: int, n: int, view: View, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Rows (n, x1, y1, x2, y2) in pixels of the clip, and labels, of one key frame.

        Coordinates are limited to 0 .. side - 1, as PySlowFast does. In training a box of which
        the crop left nothing is dropped.
        """
        shown = self._shown(second)
        boxes, labels = self.table.boxes(v, second)[:shown], self.table.labels(v, second)[:shown]
        height, width = size
        boxes = view.boxes(boxes * [width, height, width, height])
        boxes = np.clip(boxes, 0, np.array([view.shape[1], view.shape[0]] * 2) - 1)
        if self.split == "train":
            left = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
            boxes, labels = boxes[left], labels[left]
        rows = np.column_stack([np.full(len(boxes), n), boxes]).astype(np.float32)
        return torch.from_numpy(rows), torch.from_numpy(labels)

    def _open(self, v: int) -> FrameSource:
        """The video, left open until another is asked for: tests ask for second after second."""
        if self._opened != v:
            self._opened = -1
            self._stack.close()
            path, frames = self.places.path(v), self.places.frames[v]
            source = open_source(path, frames, self.target_fps, self.backend)
            self._source, self._opened = self._stack.enter_context(source), v
        return self._source

    def _centres(self, video: FrameSource, seconds: Seconds) -> NDArray[np.int64]:
        """Frames of these seconds."""
        centres = video.at(seconds - self.start_second)
        outside = (centres < 0) | (centres >= video.info.frames)
        if outside.any():
            raise VideoError(
                f"{video.path}: second {seconds[outside][0]} is frame {centres[outside][0]}, found "
                f"frames 0..{video.info.frames - 1} at {video.info.fps:g} a second; do "
                f"AVA.START_SECOND {self.start_second:g} and AVA.KEYFRAME_RANGE fit?"
            )
        return centres


def build_table(cfg: CfgNode, split: str, paths: AvaPaths) -> BoxTable:
    """The boxes of a split: annotated and, above the threshold, detected ones for training;
    detected ones for tests, or the annotated ones where no file has any."""
    truth = paths.truth if split == "train" or not paths.persons else ()
    if not truth and not paths.persons:
        keys = "AVA.TEST_PREDICT_BOX_LISTS or AVA.GROUNDTRUTH_FILE"
        if split == "train":
            keys = "AVA.TRAIN_GT_BOX_LISTS or AVA.TRAIN_PREDICT_BOX_LISTS"
        raise ConfigError(f"{split} has no file of boxes: set {keys}")
    if split != "train" and truth:
        logger.info("AVA.TEST_PREDICT_BOX_LISTS is empty: testing in the boxes of the annotation")
    threshold, classes = cfg.AVA.DETECTION_SCORE_THRESH, cfg.MODEL.NUM_CLASSES
    return read_table(truth, paths.persons, threshold, classes)


def annotated_ranges(table: BoxTable, fixed: list[int]) -> tuple[Seconds, Seconds]:
    """First and last second of every video: `fixed`, or those of its first and last boxes."""
    count = len(table.videos)
    if fixed:
        return np.full(count, fixed[0]), np.full(count, fixed[1])
    video, second = table.keyframes()
    first, last = np.full(count, SECONDS), np.full(count, -1)
    np.minimum.at(first, video, second)
    np.maximum.at(last, video, second)
    return first, last
