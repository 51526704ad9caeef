"""Boxes of people with the names of their actions, drawn into the video."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from cmvl.data.frames import open_source
from cmvl.data.stream import open_stream
from cmvl.report.boxes import Actions
from cmvl.report.film import COLOURS, Picture, font, write_film

SIDE = 480  # pixels of the short side at least: smaller videos are enlarged for the letters
SHOWN = 3  # actions of a box


def write_box_film(
    path: Path,
    actions: Sequence[Actions],
    video: str,
    names: Mapping[int, str],
    threshold: float,
    fps: float = 30.0,
) -> None:
    """Each second's boxes half a second around it. Raises VideoError."""
    at = {found.second: found for found in actions}
    with open_source(video, fps=fps) as whole:
        begins = whole.at(np.arange(max(at, default=0) + 2) - 0.5)
    with open_stream(video, fps) as source:
        info = source.info
        scale = max(1.0, SIDE / min(info.height, info.width))
        size = round(info.width * scale), round(info.height * scale)

        def drawn(k: int, picture: Picture) -> Picture:
            picture = cv2.resize(picture, size) if scale > 1 else picture
            found = at.get(int(np.searchsorted(begins, k, side="right")) - 1)
            return draw_boxes(picture, found, names, threshold) if found else picture

        write_film(path, (drawn(*pair) for pair in source.frames(range(info.frames))), info.fps)


def draw_boxes(
    picture: Picture, found: Actions, names: Mapping[int, str], threshold: float
) -> Picture:
    """A copy with boxes in 0..1 and, of each, the best actions scored `threshold` or more."""
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image, "RGBA")
    letters = font(max(11, min(height, width) // 34))
    line = letters.size + 6
    for i, box in enumerate(found.boxes):
        colour = COLOURS[i % len(COLOURS)]
        x1, y1, x2, y2 = (box * [width, height, width, height]).round().tolist()
        x1, y1 = max(x1, 0), max(y1, 0)
        pen.rectangle((x1, y1, min(x2, width - 1), min(y2, height - 1)), outline=colour, width=3)
        shown = found.best(i, names, threshold)[:SHOWN]
        # Above the box where there is room, else in it.
        top = y1 - line * len(shown) if y1 >= line * len(shown) else y1
        for n, (name, score) in enumerate(shown):
            text, y = f"{name}  {score:.2f}", top + line * n
            long = letters.getlength(text) + 8
            x = max(min(x1, width - long), 0)
            pen.rectangle((x, y, x + long, y + line), (*colour, 225))
            pen.text((x + 4, y + 2), text, (15, 18, 22), letters)
    return np.asarray(image)
