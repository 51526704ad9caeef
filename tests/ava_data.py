"""A small data set in AVA's format: figures that walk, whose action is their colour."""

import cv2
import numpy as np

FPS, HEIGHT, WIDTH = 8, 48, 64
COLOURS = ((220, 40, 40), (40, 200, 40), (50, 60, 230))  # RGB of action ids 1, 2, 3
SETTINGS = (
    "TASK detection TRAIN.DATASET Ava TEST.DATASET Ava AVA.START_SECOND 0 AVA.KEYFRAME_RANGE [] "
    f"DATA.TARGET_FPS {FPS} AVA.TRAIN_GT_BOX_LISTS ['train.csv'] AVA.GROUNDTRUTH_FILE val.csv "
    "AVA.TEST_PREDICT_BOX_LISTS ['persons.csv'] AVA.DETECTION_SCORE_THRESH 0.8 "
    "AVA.LABEL_MAP_FILE labels.pbtxt AVA.EXCLUSION_FILE excluded.csv MODEL.NUM_CLASSES 3"
)


def settings(folder):
    """KEY VALUE pairs for the data set in `folder`."""
    return ["DATA.PATH_TO_DATA_DIR", str(folder), *SETTINGS.split()]


class Walk:
    """A figure that walks to and fro; `box(time)` is x1, y1, x2, y2 in pixels."""

    def __init__(self, rng, lane):
        self.start, self.speed = rng.uniform(0, 30), rng.uniform(2, 5)
        self.size = rng.integers(11, 17, 2)
        self.top = 3 + 22 * lane

    def box(self, time):
        room = WIDTH - 6 - self.size[0]
        way = (self.start + self.speed * time) % (2 * room)
        x = 3 + min(way, 2 * room - way)
        return np.round([x, self.top, x + self.size[0], self.top + self.size[1]]).astype(int)


def make_video(rng, i, seconds):
    """Frames (n, H, W, 3), and rows (second, box in 0..1, action)."""
    figures = [Walk(rng, lane) for lane in range(2)]
    own = (2 * i + np.arange(2)) % 3 + 1
    frames = rng.integers(90, 110, (seconds * FPS, HEIGHT, WIDTH, 3)).astype(np.uint8)
    rows = []
    for k, frame in enumerate(frames):
        for lane, figure in enumerate(figures):
            x1, y1, x2, y2 = figure.box(k / FPS)
            frame[y1:y2, x1:x2] = COLOURS[own[lane] - 1]
            if k % FPS == 0:
                box = (x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT)
                rows.append((k // FPS, box, int(own[lane])))
    return frames, rows


def write_ava(folder, train=4, val=2, seconds=10):
    """Frame folders, box files, label map; videos t0, t1 ... and v0, v1 ..."""
    rng = np.random.default_rng(0)
    (folder / "annotations").mkdir(parents=True)
    persons, notes = [], folder / "annotations"
    for split, count in (("train", train), ("val", val)):
        lines = []
        for i in range(count):
            name = f"{split[0]}{i}"
            frames, rows = make_video(rng, i, seconds)
            (folder / "frames" / name).mkdir(parents=True)
            for k, frame in enumerate(frames, start=1):
                path = folder / "frames" / name / f"{name}_{k:06d}.png"
                cv2.imwrite(str(path), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            for second, box, action in rows:
                place = ",".join(f"{x:.4f}" for x in box)
                lines.append(f"{name},{second:04d},{place},{action},{len(lines)}")
                if split == "val":
                    persons.append(f"{name},{second:04d},{place},,0.95")
        (notes / f"{split}.csv").write_text("\n".join(lines) + "\n")
    persons.append(f"v0,{seconds - 1:04d},0.1,0.1,0.3,0.3,,0.5")  # below the threshold
    (notes / "persons.csv").write_text("\n".join(persons) + "\n")
    (notes / "excluded.csv").write_text("")
    (notes / "labels.pbtxt").write_text(
        "".join(f'item {{\n  name: "colour {i}"\n  id: {i}\n}}\n' for i in (1, 2, 3))
    )
