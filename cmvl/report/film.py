"""Writing an mp4 of changed frames, and drawing on them: bars, strips, letters of any alphabet."""

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cmvl.utils.files import whole

Picture = NDArray[np.uint8]  # (height, width, 3), RGB
BACK, INK, SOFT, LINE = (23, 26, 31), (238, 241, 245), (150, 158, 170), (58, 64, 74)
COLOURS = (  # RGB, told apart by most eyes
    (86, 156, 230), (240, 150, 60), (95, 190, 110), (225, 95, 95), (170, 125, 215),
    (210, 190, 70), (90, 195, 195), (225, 125, 185),
)  # fmt: skip
OTHER = (120, 126, 136)
QUALITY = {"crf": "18", "preset": "veryfast"}  # of x264


def write_film(path: Path, frames: Iterable[Picture], fps: float) -> None:
    """H.264 at the frames' own rate, whole or not at all; an odd row or column is left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, av.open(str(part), "w", format="mp4") as writer:
        rate = Fraction(fps).limit_denominator(1001)
        stream = writer.add_stream("libx264", rate=rate, options=QUALITY)
        stream.pix_fmt = "yuv420p"
        for i, picture in enumerate(frames):
            if i == 0:
                stream.height, stream.width = (side // 2 * 2 for side in picture.shape[:2])
            picture = np.ascontiguousarray(picture[: stream.height, : stream.width])
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        writer.mux(stream.encode(None))


@lru_cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """matplotlib's own, so that it is there everywhere."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{name}", size)


def fit(text: str, letters: ImageFont.FreeTypeFont, width: float) -> str:
    """As much of a text as a width holds."""
    if letters.getlength(text) <= width:
        return text
    while text and letters.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def canvas(height: int, width: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), BACK)
    return image, ImageDraw.Draw(image)
