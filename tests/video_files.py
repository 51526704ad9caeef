"""Small video files for tests, written with PyAV."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition


def pictures(count, height=48, width=64, seed=0):
    """uint8 (count, height, width, 3): a smooth texture that moves, brighter with time."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 160, (height // 8 + 1, width // 8 + 1, 3))
    texture = np.kron(coarse, np.ones((8, 8, 1)))[:height, :width]
    frames = [np.roll(texture, (i, 2 * i), (0, 1)) + 90 * i / max(count, 2) for i in range(count)]
    return np.stack(frames).astype(np.uint8)


def write_video(
    path, frames, fps=30, codec="libx264", options=None, pts=None, rotation=0, pix_fmt="yuv420p"
):
    """Write `frames` (an array, or a number of them); `pts` in 1/fps seconds. Returns the path."""
    frames = pictures(frames) if isinstance(frames, int) else frames
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write rotation")
            stream.set_display_rotation(rotation)
        for i, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = i if pts is None else pts[i]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)


def write_frames(folder, frames, name="%05d.jpg", first=1):
    """Write `frames` (an array, or a number of them) as pictures. Returns the folder."""
    frames = pictures(frames) if isinstance(frames, int) else frames
    Path(folder).mkdir(parents=True, exist_ok=True)
    for k, picture in enumerate(frames, start=first):
        assert cv2.imwrite(str(Path(folder) / (name % k)), picture[..., ::-1])
    return Path(folder)


def write_sound(path, cover=False):
    """A file with an audio stream only, or with a cover picture too."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        if cover:
            image = container.add_stream("mjpeg", rate=1)
            image.height = image.width = 16
            image.pix_fmt, image.disposition = "yuvj420p", Disposition.attached_pic.value
            picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            container.mux(image.encode(picture) + image.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)


def cut(path, share=0.5):
    """Keep the first `share` of a file's bytes."""
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * share)])
    return Path(path)
