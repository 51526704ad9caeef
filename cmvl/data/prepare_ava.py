"""Frames cut out of AVA's films as its users name them: VIDEO/VIDEO_000001.jpg and so on.

Those of 15 to 30 minutes, 30 a second, in the size of the film: frames made smaller cost others
some mAP. What is finished is kept, so an interrupted run goes on where it stopped.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

from cmvl.data.container import damage, open_media
from cmvl.data.disk import find_media, note_settings
from cmvl.data.parallel import Crash, for_each
from cmvl.utils.errors import DataError, VideoError
from cmvl.utils.files import writing


@dataclass(frozen=True)
class Cut:
    """`seconds` from second `start` on, at `fps`, JPEGs of this quality (up to 100)."""

    start: float = 900.0
    seconds: float = 901.0
    fps: int = 30
    quality: int = 98

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)


def prepare_ava(videos: str, out: str, cut: Cut, workers: int) -> str:
    """Cut the frames of every film under `videos` into a folder of `out`; returns a summary.

    Raises DataError that names the films that could not be cut, or if those that are there were
    cut otherwise.
    """
    media = find_media(videos)
    if not media:
        raise DataError(f"{videos}: expected video files, found none")
    jobs = [
        (name, os.path.join(videos, path), os.path.join(out, name))
        for name, path in sorted(media.items())
    ]
    note_settings(out, asdict(cut))
    there = sum(os.path.isdir(target) for _, _, target in jobs)
    failed, short = [], []
    for place, answer in for_each(partial(_cut_one, cut=cut), jobs, workers, "films"):
        name = jobs[place][0]
        if isinstance(answer, Crash | str):
            failed.append(f"{name}: {answer}")
        elif answer < cut.frames:
            short.append(f"{name} ({answer})")
    if failed:
        raise DataError(
            f"{len(failed)} of {len(jobs)} films could not be cut; run again after mending them, "
            "the others are kept:\n" + "\n".join(sorted(failed))
        )
    text = f"{out}: frames of {len(jobs)} films, {there} of them from before"
    if short:
        text += f"; fewer than {cut.frames} frames: {', '.join(sorted(short))}"
    return text


def cut_frames(source: str, name: str, target: str, cut: Cut) -> int:
    """Write the frames of `source` into the folder `target`, which appears when it is complete.

    Returns their number. Raises VideoError, and UserError where the disk takes no more.
    """
    if os.path.isdir(target):
        return len(os.listdir(target))
    part = f"{target}.part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    try:
        with damage(source, "cannot be decoded to its end"), writing(target):
            if not (count := _write_pictures(source, os.path.join(part, name), cut)):
                raise VideoError(
                    f"{source}: expected frames from second {cut.start:g} on, found none"
                )
            os.rename(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


def _write_pictures(source: str, prefix: str, cut: Cut) -> int:
    count = 0
    for picture, times in _resampled(source, cut):
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, cut.quality])[1].tobytes()
        for _ in range(times):
            count += 1
            Path(f"{prefix}_{count:06d}.jpg").write_bytes(data)
    return count


def _resampled(source: str, cut: Cut) -> Iterator[tuple[np.ndarray, int]]:
    """(BGR picture, how many frames it lasts): a frame is shown from the nearest tick on."""
    shown, since = None, 0
    with open_media(source) as container:
        if not container.streams.video:
            raise VideoError(f"{source}: expected a video stream, found none")
        film = container.streams.video[0]
        origin = float((film.start_time or 0) * film.time_base)
        container.seek(int((cut.start + origin) / film.time_base), stream=film)
        for frame in container.decode(film):
            tick = int(np.floor((frame.time - origin - cut.start) * cut.fps + 0.5))
            tick = min(tick, cut.frames)
            if shown is not None and tick > since:
                yield _picture(shown), tick - since
                since = tick
            shown = frame
            if tick >= cut.frames:
                return
        if shown is not None and since < cut.frames:  # the film ends before the cut
            yield _picture(shown), 1


def _picture(frame: av.VideoFrame) -> np.ndarray:
    picture = frame.reformat(format="bgr24", threads=1).to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _cut_one(job: tuple[str, str, str], cut: Cut) -> int | str:
    name, source, target = job
    try:
        return cut_frames(source, name, target, cut)
    except VideoError as error:
        return str(error)
