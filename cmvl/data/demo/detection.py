"""Films in AVA's format whose actions no clip at a key frame can show (Sec. 4.5).

Two people walk to and fro at dusk. Every ten seconds a coloured light is on for about a second. At
the key frames 2, 3 and 4 seconds before and after a light both have boxes, and their action is its
colour. A clip of AVA's configs spans 2.1 seconds, so that of such a key frame shows no light; of
the nine clips around it one to three do, and no other light.

The files are named as AVA's are, films begin at second 900 as AVA's frames do, and every window
lies within its film: AVA's own configs read them, given sizes that fit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cmvl.data.ava_files import label_map
from cmvl.data.demo.plan import COLOURS
from cmvl.data.demo.scene import HEIGHT, WIDTH, Picture, compose, distractor
from cmvl.data.demo.write import encode, make_missing

FPS = 10
START = 900  # AVA's second of the first frame
FIRST, SCENE, SCENES = 6, 10, 4  # second of the first light, seconds between them, their number
NEAR = (-4, -3, -2, 2, 3, 4)  # seconds from a light to its key frames
REACH = 5  # seconds from a key frame to the end of its window
SECONDS = FIRST + (SCENES - 1) * SCENE + max(NEAR) + REACH
LENGTH = 12  # frames that a light is on
VERSIONS = {"v2.1": "2018", "v2.2": "2019"}  # of AVA, with the year in the label map's name
PERSONS = "person_box_67091280_iou90/ava_detection_{}_boxes_and_labels{}.csv"  # PySlowFast's
SUFFIX = {"train": "_include_negative_{}", "val": ""}
FilmJob = tuple[str, int, int]  # split, number, seed
Row = tuple[str, int, tuple[float, ...], int, int]  # video, second, box, action, person


@dataclass(frozen=True)
class Person:
    """Somebody who walks to and fro; sizes in pixels."""

    grey: float
    start: float
    speed: float  # pixels a frame
    width: float
    height: float
    top: float

    def box(self, i: int) -> NDArray[np.float64]:
        """x1, y1, x2, y2 at frame i."""
        room = WIDTH - self.width - 4
        way = (self.start + self.speed * i) % (2 * room)
        x = 2 + min(way, 2 * room - way)
        return np.array([x, self.top, x + self.width, self.top + self.height])

    def paint(self, picture: Picture, i: int) -> Picture:
        x1, y1, x2, y2 = np.round(self.box(i)).astype(int).tolist()
        grey, head = (self.grey,) * 3, (x2 - x1) // 3
        middle, hip = (x1 + x2) // 2, y1 + int(0.6 * self.height)
        cv2.circle(picture, (middle, y1 + head), head, grey, -1)
        cv2.rectangle(picture, (x1 + 2, y1 + 2 * head), (x2 - 3, hip), grey, -1)
        stride = round((x2 - x1) / 2 * np.sin(0.25 * self.speed * i))
        for foot in (middle + stride, middle - stride):
            foot = min(max(foot, x1 + 1), x2 - 2)
            cv2.line(picture, (middle, hip), (foot, y2 - 2), grey, 3)
        return picture


@dataclass(frozen=True)
class Light:
    """All is coloured for LENGTH frames around `centre`."""

    colour: str
    centre: int

    def paint(self, picture: Picture, i: int) -> Picture:
        alpha = 0.7 * min(max((LENGTH / 2 - abs(i - self.centre)) / 2, 0.0), 1.0)
        return picture * (1 - alpha) + np.float32(COLOURS[self.colour]) * alpha


@dataclass(frozen=True)
class Dusk:
    """Dims what is behind it to a grey."""

    grey: float

    def paint(self, picture: Picture, i: int) -> Picture:
        return 0.25 * picture + 0.75 * self.grey


@dataclass(frozen=True)
class Film:
    name: str
    lights: tuple[Light, ...]
    people: tuple[Person, ...]

    def rows(self) -> list[Row]:
        """Everybody at every key frame."""
        return [
            (self.name, START + second, tuple(box), action, n)
            for k, light in enumerate(self.lights)
            for second in (FIRST + k * SCENE + step for step in NEAR)
            for action in [list(COLOURS).index(light.colour) + 1]
            for n, person in enumerate(self.people)
            for box in [person.box(second * FPS) / (WIDTH, HEIGHT, WIDTH, HEIGHT)]
        ]


def write_films(out: Path, train: int = 16, val: int = 6, seed: int = 0, workers: int = 2) -> None:
    """Write OUT/frames/*.mp4, so many to train on and to test on, and OUT/annotations.

    Equal arguments give equal films; those of an earlier call with the same seed are kept.
    """
    out = Path(out)
    counts = {"train": train, "val": val}
    jobs = {s: [(s, i, seed) for i in range(n)] for s, n in counts.items()}
    (out / "frames").mkdir(parents=True, exist_ok=True)
    files = {out / "frames" / f"{_film(job)[0].name}.mp4": job for s in jobs for job in jobs[s]}
    make_missing(write_film, files, out, seed, workers)
    for split in jobs:
        _write_boxes(out / "annotations", split, [_film(job)[0] for job in jobs[split]], seed)


def write_film(job: FilmJob, path: Path) -> None:
    film, rng = _film(job)
    frames = SECONDS * FPS
    shapes = [distractor(frames, rng) for _ in range(10)]
    encode(path, compose(frames, [*shapes, Dusk(90), *film.people, *film.lights], rng), FPS)


def _film(job: FilmJob) -> tuple[Film, np.random.Generator]:
    split, i, seed = job
    rng = np.random.default_rng([seed, list(SUFFIX).index(split), i])
    centres = (FIRST + SCENE * np.arange(SCENES)) * FPS + rng.integers(-2, 3, SCENES)
    colours = rng.permutation(list(COLOURS)).tolist()
    lights = tuple(map(Light, colours, centres.tolist()))
    people = tuple(
        Person(
            grey=rng.uniform(190, 235),
            start=rng.uniform(0, WIDTH),
            speed=rng.uniform(0.3, 1.2),
            width=rng.uniform(14, 18),
            height=rng.uniform(28, 34),
            top=top,
        )
        for top in (4, HEIGHT - 40)
    )
    return Film(f"{split}{i:02d}", lights, people), rng


def _write_boxes(folder: Path, split: str, films: Iterable[Film], seed: int) -> None:
    """A split's files of both versions; of val one key frame is excluded."""
    rows = [row for film in films for row in film.rows()]
    truth = [_line(*row[:3], row[3], row[4]) for row in rows]
    found = _detected(rows, split == "train", np.random.default_rng(seed))
    for version, year in VERSIONS.items():
        _write(folder / f"ava_{split}_{version}.csv", truth)
        _write(folder / PERSONS.format(split, SUFFIX[split].format(version)), found)
        if split == "val":
            excluded = folder / f"ava_val_excluded_timestamps_{version}.csv"
            _write(excluded, [f"{rows[0][0]},{rows[0][1]:04d}"])
        names = folder / f"ava_action_list_{version}_for_activitynet_{year}.pbtxt"
        _write(names, label_map([*COLOURS]).splitlines())


def _detected(rows: list[Row], actions: bool, rng: np.random.Generator) -> list[str]:
    """A detector's boxes: everybody, nearly, and with a low score nobody."""
    lines = []
    for video, second, box, action, person in rows:
        near = np.clip(np.array(box) + rng.normal(0, 0.01, 4), 0, 1)
        score = f"{rng.uniform(0.85, 1):.4f}"
        lines.append(_line(video, second, near, action if actions else "", score))
        if person == 0:
            low = rng.uniform(0, 0.7, 2)
            nobody = (*low, *(low + 0.25))
            lines.append(_line(video, second, nobody, "", f"{rng.uniform(0.1, 0.7):.4f}"))
    return lines


def _line(video: str, second: int, box: Iterable[float], action: int | str, last: int | str) -> str:
    return ",".join([video, f"{second:04d}", *(f"{x:.3f}" for x in box), str(action), str(last)])


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
