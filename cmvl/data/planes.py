"""A decoded frame whose crop alone becomes RGB: brightness and colour planes are cut and resized.

Against 'to RGB first, then resize' pictures of a natural scene differ by some 40 dB PSNR, for
colour is resized from its own, halved resolution and values are rounded at other places. It costs
a third at 340x256, a tenth at 1280x720.
"""

from collections.abc import Callable

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (height, width, 3), RGB
Window = tuple[int, int, int, int]  # y, x, height, width

LUMA = {2: (0.299, 0.114), 5: (0.299, 0.114), 6: (0.299, 0.114), 1: (0.2126, 0.0722)}
FULL = 2  # FFmpeg's colour range 0..255; the others are taken as 16..235
SD = (2, 5, 6)  # FFmpeg's colour spaces of BT.601, and unspecified, which is taken as such


class Scratch:
    """Arrays to be used again: pages that are fresh cost more than the work on them."""

    def __init__(self):
        self._arrays: dict[tuple[str, tuple[int, ...]], Picture] = {}

    def __call__(self, name: str, shape: tuple[int, ...]) -> Picture:
        """The array of that name and shape, uint8; what it held last time is lost."""
        key = name, shape
        if key not in self._arrays:
            self._arrays[key] = np.empty(shape, np.uint8)
        return self._arrays[key]


class Planes:
    """A frame of yuv420p. `rgb` converts all of it, exactly, where the planes cannot be used."""

    def __init__(self, frame: av.VideoFrame, rgb: Callable[[av.VideoFrame], Picture]):
        self._frame, self._convert = frame, rgb  # the planes live as long as the frame does
        self._whole: Picture | None = None
        self._planes = [_array(plane) for plane in frame.planes]

    @staticmethod
    def can_hold(frame: av.VideoFrame) -> bool:
        """Is it a frame whose planes are understood?"""
        name = frame.format.name
        return name in ("yuv420p", "yuvj420p") and int(frame.colorspace) in LUMA

    def rgb(self) -> Picture:
        """The whole picture, exactly as `Video.frames` has it."""
        if self._whole is None:
            self._whole = self._convert(self._frame)
        return self._whole

    def resized(self, window: Window, size: tuple[int, int], scratch: Scratch) -> Picture:
        """The window resized to (height, width). It needs even numbers for the fast ways.

        The whole frame in its own size is had more cheaply, and exactly, without them. The picture
        may lie in `scratch`.
        """
        whole = (0, 0, *size) == window == (0, 0, self._frame.height, self._frame.width)
        if whole or any(number % 2 for number in window):
            return resized(self.rgb(), window, size)
        full = int(self._frame.color_range) == FULL or self._frame.format.name == "yuvj420p"
        even = not any(number % 2 for number in size)
        if int(self._frame.colorspace) in SD and not full and even:
            return self._by_opencv(window, size, scratch)
        y, u, v = self._planes
        half = _half(window)
        yuv = cv2.merge([_resize(y, window, size), _resize(u, half, size), _resize(v, half, size)])
        return cv2.transform(yuv, rgb_matrix(int(self._frame.colorspace), full))

    def _by_opencv(self, window: Window, size: tuple[int, int], scratch: Scratch) -> Picture:
        """The commonest kind, for which OpenCV has a function; the fastest. Even numbers only."""
        (h, w), half = size, _half(window)
        yuv = scratch("yuv", (h * 3 // 2, w))
        _resize(self._planes[0], window, size, yuv[:h])
        halves = yuv[h:].reshape(2, h // 2, w // 2)
        _resize(self._planes[1], half, (h // 2, w // 2), halves[0])
        _resize(self._planes[2], half, (h // 2, w // 2), halves[1])
        return cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420, dst=scratch("rgb", (h, w, 3)))


def resized(picture: Picture, window: Window, size: tuple[int, int]) -> Picture:
    """The window of an RGB picture resized to (height, width)."""
    y, x, height, width = window
    cut = picture[y : y + height, x : x + width]
    if size == (height, width):
        return cut
    return cv2.resize(cut, size[::-1], interpolation=cv2.INTER_LINEAR)


def rgb_matrix(colorspace: int, full: bool) -> NDArray[np.float32]:
    """(3, 4): from Y, U, V and 1 to R, G, B, all 0..255 (ITU-T H.273, 8.3)."""
    red, blue = LUMA[colorspace]
    green = 1 - red - blue
    luma, chroma, black = (1.0, 1.0, 0) if full else (255 / 219, 255 / 224, 16)
    v_red, u_blue = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
    u_green, v_green = -u_blue * blue / green, -v_red * red / green
    rows = np.array([[luma, 0, v_red], [luma, u_green, v_green], [luma, u_blue, 0]])
    return np.column_stack([rows, -rows @ [black, 128, 128]]).astype(np.float32)


def _array(plane) -> NDArray[np.uint8]:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[
        : plane.height, : plane.width
    ]


def _half(window: Window) -> Window:
    y, x, height, width = window
    return y // 2, x // 2, height // 2, width // 2


def _resize(plane, window, size, target=None) -> NDArray[np.uint8]:
    y, x, height, width = window
    cut = plane[y : y + height, x : x + width]
    return cv2.resize(cut, size[::-1], dst=target, interpolation=cv2.INTER_LINEAR)
