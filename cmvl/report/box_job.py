"""tools/predict.py for nets that tell the actions of people: video after video, with its boxes."""

from collections.abc import Callable
from pathlib import Path

from cmvl.data.ava_files import BoxRows, Frames
from cmvl.data.decode import probe
from cmvl.report.boxes import Actions, find_persons, load_detector, predict_boxes, read_persons
from cmvl.report.trained import Trained
from cmvl.report.videos import Source
from cmvl.utils.errors import DataError

Persons = Callable[[Path], tuple[BoxRows, Frames]]  # of a video


class BoxPredictor:
    """A detection net as a function of a video's path.

    `persons`: a CSV of boxes in PySlowFast's format, the video's name without suffix in its first
    column and seconds from the video's start in its second; "": a person detector finds them.
    """

    def __init__(self, trained: Trained, persons: str):
        self.trained = trained
        self.names = {c: name for c, name in enumerate(trained.class_names, start=1) if name}
        self.persons = build_persons(trained, persons)

    def __call__(self, source: Source) -> list[Actions]:
        """Raises DataError for a video that cannot be read, or has no boxes."""
        path = Path(source.path)
        if path.is_dir():
            raise DataError(f"{path}: boxes are told in video files, not in folders of pictures")
        probe(path)
        trained = self.trained
        persons = self.persons(path)
        with trained.computing():
            return predict_boxes(trained.cfg, trained.model, path, *persons)

    def record(self, source: Source, actions: list[Actions], threshold: float) -> dict:
        """As plain data: a row for each box and each action scored `threshold` or more."""
        info = probe(source.path)
        rows = [
            {"second": a.second, "box": i, **_corners(a, i), "name": name, "score": round(score, 6)}
            for a in actions
            for i in range(len(a.boxes))
            for name, score in a.best(i, self.names, threshold)
        ]
        return {
            "path": source.path,
            "seconds": round(info.frames / info.fps, 3),
            "frames": info.frames,
            "fps": info.fps,
            "boxes": sum(len(a.boxes) for a in actions),
            "actions": rows,
        }


def _corners(actions: Actions, i: int) -> dict[str, float]:
    """In 0..1 of the picture."""
    corners = zip(("x1", "y1", "x2", "y2"), actions.boxes[i].tolist(), strict=True)
    return {name: round(value, 4) for name, value in corners}


def build_persons(trained: Trained, persons: str) -> Persons:
    """Where people come from; boxes scored below AVA.DETECTION_SCORE_THRESH are left out."""
    threshold = trained.cfg.AVA.DETECTION_SCORE_THRESH
    if persons:
        rows = read_persons(Path(persons), threshold)
        return lambda video: rows
    detector = load_detector(trained.device)
    return lambda video: find_persons(video, detector, threshold)
