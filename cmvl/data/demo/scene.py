"""The pictures of a demo video: a textured background that moves, shapes over it, noise."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from cmvl.data.demo.plan import PAINTS, SHAPES, Event, Plan

HEIGHT, WIDTH, FPS = 84, 112, 30
NOISE = 5.0  # standard deviation, levels of 0..255
FADE = 5  # frames in which a shape comes and goes
CENTRE = np.array([WIDTH / 2, HEIGHT / 2])
Picture = NDArray[np.float32]  # (HEIGHT, WIDTH, 3), RGB 0..255


class Paintable(Protocol):
    """Anything that can be seen in a video."""

    def paint(self, picture: Picture, i: int) -> Picture:
        """The picture of frame i with it."""


@dataclass(frozen=True)
class Sprite:
    """A shape that drifts from `begin` to `end` (x, y) while it turns by `spin` radians."""

    shape: str
    colour: NDArray[np.float64]
    start: int
    length: int
    begin: NDArray[np.float64]
    end: NDArray[np.float64]
    radius: float
    spin: float

    def paint(self, picture: Picture, i: int) -> Picture:
        if not self.start <= i < self.start + self.length:
            return picture
        done = (i - self.start) / (self.length - 1)
        edge = min(i - self.start + 1, self.start + self.length - i)
        corners = outline(self.shape, self.radius, self.spin * done)
        corners = corners + self.begin + (self.end - self.begin) * done
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.fillPoly(mask, [np.round(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        alpha = (mask.astype(np.float32) / 255 * min(1.0, edge / FADE))[..., None]
        return picture * (1 - alpha) + self.colour.astype(np.float32) * alpha


def render(plan: Plan, rng: np.random.Generator, step: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Every `step`-th frame of a video, uint8 (HEIGHT, WIDTH, 3)."""
    sprites = [distractor(plan.frames, rng) for _ in range(plan.distractors)]
    sprites += [_event(event, rng) for event in plan.events]
    return compose(plan.frames, sprites, rng, step)


def compose(
    frames: int, sprites: Sequence[Paintable], rng: np.random.Generator, step: int = 1
) -> Iterator[NDArray[np.uint8]]:
    """Every `step`-th frame with the sprites one over the other, uint8 (HEIGHT, WIDTH, 3)."""
    grain = rng.normal(0, NOISE, (24, HEIGHT, WIDTH, 3)).astype(np.float32).ravel()
    size = HEIGHT * WIDTH * 3
    for i, background in islice(enumerate(_background(frames, rng)), 0, None, step):
        picture = background.astype(np.float32)
        for sprite in sprites:
            picture = sprite.paint(picture, i)
        at = int(rng.integers(0, grain.size - size))
        picture = picture + grain[at : at + size].reshape(picture.shape)
        yield np.clip(picture, 0, 255).astype(np.uint8)


def outline(shape: str, radius: float, angle: float) -> NDArray[np.float64]:
    """Corners (n, 2) of a shape around the origin."""
    if shape == "cross":
        k = 0.34
        corners = [(-k, -1), (k, -1), (k, -k), (1, -k), (1, k), (k, k)]
        corners += [(-x, -y) for x, y in corners]
    elif shape == "square":
        corners = [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
    else:
        turns = np.linspace(0, 2 * math.pi, 3 if shape == "triangle" else 24, endpoint=False)
        corners = [(math.cos(a), math.sin(a)) for a in turns]
    c, s = math.cos(angle), math.sin(angle)
    return radius * np.array(corners) @ np.array([[c, s], [-s, c]])


def _event(event: Event, rng: np.random.Generator) -> Sprite:
    middle = CENTRE + rng.uniform(-9, 9, 2)
    drift = _direction(rng) * rng.uniform(6, 14)
    colour = np.clip(np.array(PAINTS[event.colour]) + rng.normal(0, 12, 3), 0, 255)
    return Sprite(
        event.shape,
        colour,
        event.start,
        event.length,
        middle - drift,
        middle + drift,
        rng.uniform(12, 16) * event.size,
        rng.uniform(-1, 1),
    )


def distractor(frames: int, rng: np.random.Generator) -> Sprite:
    """A grey shape at any time and place."""
    length = int(rng.integers(30, 90))
    middle = CENTRE + rng.uniform(-1, 1, 2) * (40, 30)
    drift = _direction(rng) * rng.uniform(4, 25)
    grey = np.clip(rng.uniform(30, 225) + rng.normal(0, 8, 3), 0, 255)
    return Sprite(
        str(rng.choice(SHAPES)),
        grey,
        int(rng.integers(0, frames - length)),
        length,
        middle - drift,
        middle + drift,
        rng.uniform(6, 11),
        rng.uniform(-2, 2),
    )


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * math.pi)
    return np.array([math.cos(angle), math.sin(angle)])


def _background(frames: int, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """A texture of two dull tints, seen by a camera that sways, drifts, turns and zooms."""
    height, width = 2 * HEIGHT, 2 * WIDTH
    one, other = _tint(rng), _tint(rng)
    while abs(one.mean() - other.mean()) < 30:
        other = _tint(rng)
    blend = _clouds(height, width, rng)[..., None]
    image = (one * blend + other * (1 - blend)).astype(np.uint8)
    phase, rate = rng.uniform(0, 2 * math.pi, 4), rng.uniform(0.05, 0.18, 4)
    sway, drift = rng.uniform(8, 22, 2), rng.normal(0, 3, 2) * (1, 0.5)
    for i in range(frames):
        wave = np.sin(2 * math.pi * rate * i / FPS + phase)
        x, y = sway * wave[:2] + drift * (i - frames / 2) / FPS
        centre = (width / 2 + x, height / 2 + y)
        matrix = cv2.getRotationMatrix2D(centre, 6 * wave[2], 1.15 + 0.1 * wave[3])
        matrix[:, 2] += CENTRE - centre
        yield cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)


def _clouds(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of four scales, 0..1."""
    clouds = np.zeros((height, width), np.float32)
    for cells, weight in ((4, 1.0), (8, 0.6), (18, 0.4), (40, 0.25)):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        clouds += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (clouds - clouds.min()) / (clouds.max() - clouds.min())


def _tint(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.clip(rng.uniform(60, 170) + rng.normal(0, 14, 3), 20, 220)
