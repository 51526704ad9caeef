"""A video with what the net says under it, as an mp4: now, over the whole, and along time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cmvl.data.stream import open_stream
from cmvl.evaluation.results import rank
from cmvl.report.film import (
    BACK,
    COLOURS,
    INK,
    LINE,
    OTHER,
    SOFT,
    Picture,
    canvas,
    fit,
    font,
    write_film,
)
from cmvl.report.predict import Scores, VideoPrediction, called
from cmvl.report.timeline import Timeline, halfway

SIDE = 640  # pixels that a panel is wide at least
SHOWN = 3  # classes of a column


@dataclass(frozen=True)
class Track:
    """Scores (M, K) along time: row m holds from borders[m] to borders[m + 1] seconds."""

    title: str  # of its column
    short: str  # of its strip
    borders: NDArray[np.float64]
    scores: Scores


@dataclass(frozen=True)
class Overlay:
    """Columns of the moment's best classes, one a track, and of the whole; a strip a track."""

    tracks: Sequence[Track]
    whole: Scores | None  # (K,)
    names: Sequence[str]

    def colours(self) -> dict[int, tuple[int, int, int]]:
        """Of the classes that come first most often, then of those with the highest scores."""
        scores = np.concatenate([track.scores for track in self.tracks])
        firsts = np.bincount(scores.argmax(axis=1), minlength=scores.shape[1])
        order = np.argsort(-(firsts + scores.mean(axis=0)), kind="stable")
        return dict(zip(order.tolist(), COLOURS, strict=False))


def of_video(result: VideoPrediction) -> Overlay:
    """A trimmed video: its clips with the memory, and alone."""
    borders = halfway(result.times, result.info.frames / result.info.fps)
    tracks = [
        Track("now, with the memory", "memory", borders, result.clips),
        Track("now, clip alone", "alone", borders, result.alone),
    ]
    return Overlay(tracks, result.scores, result.class_names)


def of_timeline(result: Timeline) -> Overlay:
    """A long one: its windows."""
    borders = halfway(result.times, result.seconds)
    return Overlay([Track("now", "", borders, result.scores)], None, result.class_names)


def write_overlay(path: Path, overlay: Overlay, video: str, fps: float = 30.0) -> None:
    """The film with its panel. `fps` is that of a folder of pictures. Raises VideoError."""
    with open_stream(video, fps) as source:
        info = source.info
        scale = max(1.0, 360 / info.height, min(SIDE / info.width, 640 / info.height))
        height, width = round(info.height * scale), round(info.width * scale)
        panel = Panel(overlay, max(width, SIDE), info.frames / info.fps)
        frames = (
            panel.under(cv2.resize(picture, (width, height)), k / info.fps)
            for k, picture in source.frames(range(info.frames))
        )
        write_film(path, frames, info.fps)


class Panel:
    """Draws under a frame; what does not move is drawn once for every piece of time."""

    def __init__(self, overlay: Overlay, width: int, seconds: float):
        self.overlay, self.width, self.seconds = overlay, width, max(seconds, 1e-6)
        self.unit = width / SIDE
        self.colours = overlay.colours()
        self._key, self._drawn = (), np.empty(0)

    def under(self, frame: Picture, time: float) -> Picture:
        """The frame in the middle, the panel below it."""
        key = tuple(self._piece(track, time) for track in self.overlay.tracks)
        if key != self._key:
            self._key, self._drawn = key, self._draw(key)
        panel = self._drawn.copy()
        x = round(self._x(time))
        panel[self._strips_from :, x : x + max(2, round(2 * self.unit))] = 255
        space = np.full((frame.shape[0], self.width, 3), BACK, np.uint8)
        left = (self.width - frame.shape[1]) // 2
        space[:, left : left + frame.shape[1]] = frame
        return np.concatenate([space, panel])

    def _piece(self, track: Track, time: float) -> int:
        place = np.searchsorted(track.borders, time, side="right") - 1
        return int(np.clip(place, 0, len(track.scores) - 1))

    def _x(self, time: float) -> float:
        margin = 12 * self.unit
        left = margin + (52 * self.unit if any(t.short for t in self.overlay.tracks) else 0)
        return left + min(time / self.seconds, 1.0) * (self.width - left - margin)

    def _draw(self, pieces: Sequence[int]) -> Picture:
        unit, tracks = self.unit, self.overlay.tracks
        columns = [(t.title, t.scores[m]) for t, m in zip(tracks, pieces, strict=True)]
        if self.overlay.whole is not None:
            columns.append(("whole video", self.overlay.whole))
        self._strips_from = round((34 + 24 * min(SHOWN, len(columns[0][1]))) * unit)
        height = self._strips_from + round((14 * len(tracks) + 10) * unit)
        self._image, self._pen = canvas(height, self.width)
        each = (self.width - 12 * unit) / len(columns)
        for i, (title, scores) in enumerate(columns):
            self._column(12 * unit + i * each, each - 12 * unit, title, scores)
        for i, track in enumerate(tracks):
            self._strip(self._strips_from + (4 + 14 * i) * unit, track)
        return np.asarray(self._image)

    def _column(self, x: float, width: float, title: str, scores: Scores) -> None:
        unit, pen = self.unit, self._pen
        small = font(round(11 * unit))
        pen.text((x, 7 * unit), fit(title, small, width), SOFT, small)
        letters, number = font(round(12 * unit)), 34 * unit
        for i, c in enumerate(rank(scores)[:SHOWN].tolist()):
            y = (28 + 24 * i) * unit
            name = fit(called(self.overlay.names, c), letters, width - number)
            pen.text((x, y), name, INK, letters)
            pen.text((x + width, y), f"{scores[c]:.2f}", INK, letters, anchor="ra")
            y += 16 * unit
            pen.rectangle((x, y, x + width, y + 3 * unit), LINE)
            colour = self.colours.get(c, OTHER)
            pen.rectangle((x, y, x + max(scores[c] * width, 1), y + 3 * unit), colour)

    def _strip(self, y: float, track: Track) -> None:
        """Every piece of time in the colour of its best class."""
        small = font(round(10 * self.unit))
        self._pen.text((12 * self.unit, y - self.unit), track.short, SOFT, small)
        for m, scores in enumerate(track.scores):
            box = (self._x(track.borders[m]), y, self._x(track.borders[m + 1]), y + 10 * self.unit)
            self._pen.rectangle(box, self.colours.get(int(scores.argmax()), OTHER))
            self._pen.line((box[2], box[1], box[2], box[3]), BACK)
