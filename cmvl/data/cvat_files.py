"""What CVAT exports as "CVAT for video 1.1": tracks of boxes, of a task or a project.

Frames are numbered as the video has them, corners are in pixels of its picture. Boxes between two
that the file has are on the straight line between them, as CVAT itself draws them.
"""

import os
import zipfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from cmvl.utils.errors import DataError

CORNERS = ("xtl", "ytl", "xbr", "ybr")
INSIDE = "annotations.xml"  # of a .zip
EXPORT = 'export the task from CVAT as "CVAT for video 1.1"'


@dataclass(frozen=True)
class Box:
    """At one frame; `outside`: here the track has left the picture."""

    frame: int
    corners: NDArray[np.float64]  # (4,) left, top, right, bottom, pixels; around a turned one
    outside: bool
    attributes: dict[str, str]


@dataclass
class Track:
    """One person, or thing; boxes by rising frame."""

    label: str
    boxes: list[Box]

    def at(self, frame: int) -> Box | None:
        """Its box there, with the attributes that were last set; None: it is not to be seen."""
        place = bisect_right(self.boxes, frame, key=lambda box: box.frame)
        if place == 0 or self.boxes[place - 1].outside:
            return None
        before = self.boxes[place - 1]
        if before.frame == frame:
            return before
        if place == len(self.boxes):  # the file ends, and with it what is known
            return None
        after = self.boxes[place]
        share = 0.0 if after.outside else (frame - before.frame) / (after.frame - before.frame)
        corners = (1 - share) * before.corners + share * after.corners
        return Box(frame, corners, False, before.attributes)


@dataclass
class Task:
    """One video. `names`: what it may be called on disk; `size`: (width, height), if it is told."""

    where: str
    names: list[str]
    subset: str
    size: tuple[int, int] | None
    tracks: list[Track] = field(default_factory=list)


def find_exports(places: Sequence[str]) -> list[Path]:
    """.xml and .zip files, and those of folders. Raises DataError."""
    found: list[Path] = []
    for place in map(Path, places):
        some = [place] if place.is_file() else sorted(place.rglob("*"))
        some = [path for path in some if path == place or path.suffix.lower() in (".xml", ".zip")]
        if not some:
            raise DataError(f"{place}: expected an .xml or .zip file, or a folder of them")
        found += some
    return found


def read_cvat(path: Path) -> list[Task]:
    """The tasks of an export. Raises DataError."""
    root = _parse(path)
    meta = root.find("meta")
    if root.tag != "annotations" or meta is None:
        raise DataError(f"{path}: expected <annotations> with <meta>; {EXPORT}")
    if root.find("image") is not None:
        raise DataError(
            f'{path}: was exported as "CVAT for images", which knows no tracks; {EXPORT}'
        )
    described = [e for e in meta.iter() if e.tag in ("task", "job")]
    tasks = {task.findtext("id", ""): _task(task, path) for task in described}
    for element in root.iter("track"):
        name = element.get("task_id", next(iter(tasks), ""))
        if name not in tasks:
            raise DataError(f"{path}: track {element.get('id')} is of task {name!r}, which the "
                            "<meta> of the file does not have")  # fmt: skip
        tasks[name].subset = element.get("subset", tasks[name].subset)
        if boxes := sorted(_boxes(element, path), key=lambda box: box.frame):
            tasks[name].tracks.append(Track(element.get("label", ""), boxes))
    return list(tasks.values())


def _parse(path: Path) -> Element:
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(INSIDE) as file:
                return ElementTree.parse(file).getroot()
        return ElementTree.parse(path).getroot()
    except KeyError as error:
        raise DataError(f"{path}: has no {INSIDE}; {EXPORT}") from error
    except (OSError, ElementTree.ParseError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as CVAT's XML ({error}); {EXPORT}") from error


def _task(element: Element, path: Path) -> Task:
    size = [element.findtext(f"original_size/{side}", "") for side in ("width", "height")]
    texts = [element.findtext("source", ""), element.findtext("name", "")]
    names = [os.path.basename(text.strip()) for text in texts if text.strip()]
    whole = (int(size[0]), int(size[1])) if all(text.isdigit() for text in size) else None
    name = names[-1] if names else element.findtext("id", "")
    return Task(f"{path}: task {name}", names, element.findtext("subset", "").strip(), whole)


def _upright(corners: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """The corners (4,) of the box around one that is turned about its middle."""
    if not degrees:
        return corners
    middle, half = (corners[:2] + corners[2:]) / 2, (corners[2:] - corners[:2]) / 2
    c, s = abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees)))
    half = np.array([[c, s], [s, c]]) @ half
    return np.concatenate([middle - half, middle + half])


def _boxes(track: Element, path: Path) -> Iterator[Box]:
    for element in track.iter("box"):
        try:
            yield Box(
                int(element.attrib["frame"]),
                _upright(
                    np.array([float(element.attrib[corner]) for corner in CORNERS]),
                    float(element.get("rotation", "0")),
                ),
                element.get("outside", "0") == "1",
                {a.get("name", ""): (a.text or "").strip() for a in element.iter("attribute")},
            )
        except (KeyError, ValueError) as error:
            raise DataError(
                f"{path}: track {track.get('id')}: a <box> without a number for {error}: "
                f"{dict(element.attrib)}"
            ) from error
