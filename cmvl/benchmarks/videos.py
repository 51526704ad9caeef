"""Videos to measure decoding on: texture at several scales, panned, zoomed and grainy."""

from pathlib import Path

import av
import cv2
import numpy as np

from cmvl.utils.files import whole


def write_sample(
    path: Path,
    height: int,
    width: int,
    frames: int = 300,
    fps: int = 30,
    options: dict[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """An H.264 file with the encoder's `options`, e.g. {"g": "250"}; one that exists is kept."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "23"} | (options or {}))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for picture in scene(height, width, frames, seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def scene(height: int, width: int, frames: int, seed: int):
    """Pictures (height, width, 3) of a textured ground under a moving camera, and objects on it."""
    rng = np.random.default_rng(seed)
    ground = _texture(2 * height, 2 * width, rng)
    objects = [(_texture(height // 3, width // 4, rng), *rng.uniform(0, 6.3, 2)) for _ in range(3)]
    grain = [_grain(height, width, rng) for _ in range(16)]
    for t in range(frames):
        zoom = 1.2 + 0.2 * np.sin(t / 70)
        x = width * (0.35 + 0.25 * np.sin(t / 50))
        y = height * (0.35 + 0.25 * np.cos(t / 40))
        matrix = np.array([[zoom, 0, -x], [0, zoom, -y]], np.float32)
        picture = cv2.warpAffine(ground, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        for texture, a, b in objects:
            h, w = texture.shape[:2]
            top = int((height - h) * (0.5 + 0.5 * np.sin(a + t / 25)))
            left = int((width - w) * (0.5 + 0.5 * np.sin(b + t / 18)))
            picture[top : top + h, left : left + w] = texture
        yield (picture + grain[t % 16]).clip(0, 255).astype(np.uint8)


def _grain(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """float32 (height, width, 1): a sensor's noise, coarse enough for the encoder to keep."""
    # A larger picture is no denser a stream: on the web it is encoded at fewer bits a pixel.
    noise = rng.normal(0, 96 / height**0.5, (height // 2, width // 2)).astype(np.float32)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]


def _texture(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """float32 (height, width, 3): noise whose strength falls with its frequency, as in nature."""
    total = np.full((height, width, 3), rng.uniform(60, 180, 3), np.float32)
    for cells in (3, 6, 12, 24, 48, 96, 192):
        noise = rng.normal(0, 60 / cells**0.5, (cells, cells, 3)).astype(np.float32)
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return total.clip(0, 255)
