"""Where the frames or the file of every video of AVA are."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmvl.data.ava_files import AvaPaths
from cmvl.data.disk import locate
from cmvl.data.text import open_text
from cmvl.utils.errors import DataError
from cmvl.utils.logging import logger

HEADER = "original_vido_id video_id frame_id path labels"  # PySlowFast's, sic


@dataclass(frozen=True)
class Places:
    """For each video its folder of frames, or file, under `root`."""

    root: str
    paths: list[str]
    frames: list[int | None]  # what a frame list says
    there: NDArray[np.bool_]

    def path(self, video: int) -> str:
        return os.path.join(self.root, self.paths[video])


def find_places(videos: Sequence[str], paths: AvaPaths) -> Places:
    """Frame lists say which videos a split has; without them all are looked for on disk.

    Raises DataError with the first ten names if one of them is not there.
    """
    listed = read_frame_lists(paths.frame_lists)
    wanted = [video for video in videos if not listed or video in listed]
    if len(wanted) < len(videos):
        left = sorted(set(videos) - set(wanted))
        logger.warning(
            "%d of %d videos of the box files are in no frame list and left out: %s",
            len(left), len(videos), _some(left),
        )  # fmt: skip
    found = dict(zip(wanted, _locate(wanted, listed, paths.frame_dir), strict=True))
    missing = [video for video in wanted if found[video] is None]
    if missing:
        raise DataError(
            f"{paths.frame_dir}: expected a folder of frames or a video file for each of "
            f"{len(wanted)} videos, {len(missing)} are not there: {_some(missing)}. Set "
            "AVA.FRAME_DIR, or give AVA.TRAIN_LISTS and AVA.TEST_LISTS with the videos you have"
        )
    return Places(
        paths.frame_dir,
        [found.get(video) or "" for video in videos],
        [listed[video][1] if video in listed else None for video in videos],
        np.array([video in found for video in videos], dtype=bool),
    )


def read_frame_lists(files: Sequence[str]) -> dict[str, tuple[str, int]]:
    """{video: (folder, number of frames)} of PySlowFast's frame lists; {} for no lists."""
    videos: dict[str, tuple[str, int]] = {}
    for path in files:
        try:
            with open_text(path) as file:
                header = file.readline().strip()
                if header.split() != HEADER.split():
                    raise DataError(f"{path}:1: expected the header {HEADER!r}, found {header!r}")
                for number, line in enumerate(file, start=2):
                    columns = line.split()
                    if len(columns) < 4:
                        raise DataError(f"{path}:{number}: expected {HEADER!r}, found {line!r}")
                    folder, count = videos.get(columns[0], (os.path.dirname(columns[3]), 0))
                    videos[columns[0]] = folder, count + 1
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}); AVA.TRAIN_LISTS and AVA.TEST_LISTS "
                "are in AVA.FRAME_LIST_DIR, and may be empty: []"
            ) from error
    return videos


def _locate(
    videos: Sequence[str], listed: dict[str, tuple[str, int]], root: str
) -> list[str | None]:
    if not listed:
        return locate(videos, (root,))
    folders = [listed[video][0] for video in videos]
    return [folder if os.path.isdir(os.path.join(root, folder)) else None for folder in folders]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
