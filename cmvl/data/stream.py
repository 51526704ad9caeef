"""The frames of a video of any length, in the order of time and in flat memory.

`open_video` keeps a file's packets and decodes only what is asked for; here the packets pass by,
once to count them and once to decode them all. Frame k is the same in both.
"""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from torch import Tensor, empty, uint8

from cmvl.data.container import damage, film, open_container
from cmvl.data.decode import Video
from cmvl.data.frames import FrameFolder, FrameSource
from cmvl.data.transforms import View
from cmvl.utils.errors import VideoError

HEAD = 256  # packets among which a frame is to be found


@contextmanager
def open_stream(path: str, fps: float = 30.0) -> Iterator[FrameSource]:
    """A video file or a folder of pictures, whose rate is `fps`. Raises VideoError.

    Its `pictures` and `frames` come in rising order.
    """
    if os.path.isdir(path):
        yield FrameFolder(path, None, fps)
    else:
        yield Stream(path)


class Stream(Video):
    """A video read from start to end by every `frames` or `pictures`.

    Where only decoding can tell the number of frames, `info.frames` is that of the packets; of
    frames that then do not come (up to a second of them) the last one stands in.
    """

    def __init__(self, path: str):
        self.path = path
        with closing(open_container(path)) as container:
            stream = film(path, container)
            self._codec = stream.codec_context
            with damage(path, "its packets cannot be read"):
                packets = _packets(container, stream)
                self.packets, self.times = list(islice(packets, HEAD)), ()
                self._reformatter = VideoReformatter()
                info = self._inspect(stream)  # of the first frame
                count = sum(not p.is_discard for p in self.packets)
                count += sum(not packet.is_discard for packet in packets)
        self.packets = []
        self.info = replace(info, frames=max(count, 1))

    def _numbered(self, wanted: set[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        last, frame, k = max(wanted, default=-1), None, -1
        with closing(open_container(self.path)) as container:
            for k, frame in enumerate(self._all(container)):
                if k in wanted and frame.is_corrupt:
                    raise VideoError(f"{self.path}: frame {k} is damaged")
                if k in wanted:
                    yield k, frame
                if k == last:
                    return
        if frame is None or last - k > self.info.fps:
            raise VideoError(
                f"{self.path}: expected {self.info.frames} frames, but {k + 1} came out of the "
                "decoder; the file is damaged or cut off"
            )
        yield from ((late, frame) for late in sorted(wanted) if late > k)

    def _all(self, container: Any) -> Iterator[av.VideoFrame]:
        with damage(self.path, "it cannot be decoded to its end"):
            stream = film(self.path, container)
            for packet in _packets(container, stream):
                yield from stream.codec_context.decode(packet)
            yield from stream.codec_context.decode(None)


def _packets(container: Any, stream: Any) -> Iterator[av.Packet]:
    return (packet for packet in container.demux(stream) if packet.size)


def stream_clips(
    source: FrameSource, indices: NDArray[np.int64], view: View
) -> Iterator[tuple[int, Tensor]]:
    """(n, clip n), uint8 (S, 3, T, h, w), of clips with frames `indices` (N, T), in order.

    First and last frames must not fall. Only clips under way are in memory.
    """
    first, last = indices.min(axis=1), indices.max(axis=1)
    S, (height, width) = len(view.offsets), view.shape
    under_way: deque[tuple[int, Tensor]] = deque()
    coming = 0
    for k, picture in source.pictures(np.unique(indices)):
        while coming < len(indices) and first[coming] <= k:
            shape = (S, 3, indices.shape[1], height, width)
            under_way.append((coming, empty(shape, dtype=uint8)))
            coming += 1
        cuts = view.cut(picture)
        for n, clip in under_way:
            for t in np.flatnonzero(indices[n] == k):
                for s, cut in enumerate(cuts):
                    cv2.split(cut, list(clip.numpy()[s, :, t]))
        while under_way and last[under_way[0][0]] <= k:
            yield under_way.popleft()
