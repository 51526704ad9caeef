"""Frames of a video file through torchcodec, for those who have it: `DATA.BACKEND torchcodec`.

It finds frames by the times that the file states. PyAV reads the packets first, which is cheap, and
says whether those times can be trusted; a file that torchcodec would get wrong is refused, as is a
frame that comes with another time than its own. What torchcodec does not tell, and PyAV does: that
a frame inside a damaged stretch came out broken.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from cmvl.data.container import failure
from cmvl.data.decode import Frame, Video, open_video
from cmvl.data.packets import is_entry
from cmvl.utils.errors import DataError, VideoError

AT_ONCE = 16  # frames decoded in one call: large enough to be quick, small enough for memory


@contextmanager
def open_torchcodec(path: str | os.PathLike) -> Iterator["TorchcodecVideo"]:
    """The video of a file. Raises VideoError; DataError if torchcodec cannot be loaded."""
    decoder_class = find_decoder()
    with open_video(path) as video:
        opened = TorchcodecVideo(video, decoder_class)
    yield opened


class TorchcodecVideo:
    """An open video, with the `info` and the frames that `Video` gives. By `open_torchcodec`."""

    def __init__(self, video: Video, decoder_class: type):
        trouble = _trouble(video)
        if trouble:
            raise VideoError(
                f"{video.path}: torchcodec would not decode it exactly: {trouble}; set "
                "DATA.BACKEND pyav, or write it anew with tools/prepare_data.py --encode-to"
            )
        self.path, self.info, self.at = video.path, video.info, video.at
        self._times, self._time_base = np.array(video.times), video.time_base
        try:
            self._decoder = decoder_class(
                video.path,
                stream_index=video.stream,
                dimension_order="NHWC",
                num_ffmpeg_threads=1,
                seek_mode="exact",
            )
        except (RuntimeError, ValueError) as error:
            raise failure(video.path, "torchcodec cannot open it", error) from error

    def frames(self, indices: Iterable[int]) -> Iterator[tuple[int, Frame]]:
        """Each asked frame once, in rising order. Raises VideoError."""
        wanted = sorted({int(k) for k in indices})
        outside = [k for k in wanted if not 0 <= k < self.info.frames]
        if outside:
            raise VideoError(
                f"{self.path}: expected frame {outside[0]}, found frames 0..{self.info.frames - 1}"
            )
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            try:
                batch = self._decoder.get_frames_at(some)
            except (RuntimeError, IndexError) as error:
                what = f"torchcodec cannot decode frames {some[0]}..{some[-1]}"
                raise failure(self.path, what, error) from error
            self._compare(some, batch)
            yield from zip(some, batch.data.numpy(), strict=True)

    pictures = frames

    def _compare(self, numbers: list[int], batch: Any) -> None:
        """Raises VideoError unless size and times are those of the frames asked for."""
        size = (self.info.height, self.info.width)
        if tuple(batch.data.shape[1:3]) != size:
            raise VideoError(
                f"{self.path}: expected pictures of {size[0]} x {size[1]}, torchcodec made "
                f"{batch.data.shape[1]} x {batch.data.shape[2]}; set DATA.BACKEND pyav"
            )
        ticks = np.rint(batch.pts_seconds.numpy() / float(self._time_base)).astype(np.int64)
        wrong = np.flatnonzero(ticks != self._times[numbers])
        if len(wrong):
            i = int(wrong[0])
            raise VideoError(
                f"{self.path}: frame {numbers[i]} is at {self._times[numbers[i]]} x "
                f"{self._time_base} s, torchcodec gave one at {ticks[i]}; set DATA.BACKEND pyav"
            )


def _trouble(video: Video) -> str:
    """Why torchcodec cannot be used for it; "" if it can."""
    if video.times is None:
        return "its container does not state the time of every frame"
    if video.bits > 8:
        return f"its pictures have {video.bits} bits a value"
    keys = (packet for packet in video.packets if packet.is_keyframe)
    if not all(is_entry(packet, video.length_size) for packet in keys):
        return "it has key frames that the picture is only built up from"
    return ""


@cache
def find_decoder() -> type:
    """torchcodec's decoder, its libraries loaded. Raises DataError."""
    try:
        from torchcodec.decoders import VideoDecoder

        try:
            VideoDecoder(b"no video")  # new ones load FFmpeg at the first use
        except (RuntimeError, ValueError) as error:
            if "libtorchcodec" in str(error):
                raise
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"DATA.BACKEND torchcodec cannot be loaded ({reason}): install torchcodec in the "
            "version that fits torch, and FFmpeg's shared libraries; or set DATA.BACKEND pyav"
        ) from error
    return VideoDecoder
