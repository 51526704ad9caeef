"""Frames cut out of films, and the check of an AVA folder."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from ava_data import FPS, settings, write_ava

from cmvl.config import load_cfg
from cmvl.data.check_ava import build_ava_report
from cmvl.data.prepare_ava import Cut, prepare_ava
from cmvl.utils.errors import DataError

from video_files import write_video

ROOT = Path(__file__).parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def film(path, seconds, fps):
    """Frame k is grey 3 * k."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=fps, options={"crf": "4", "g": "7"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(seconds * fps):
            grey = np.full((48, 64, 3), min(3 * k, 255), np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(stream.encode())


def greys(folder, name):
    paths = sorted((folder / name).iterdir())
    assert [p.name for p in paths] == [f"{name}_{k + 1:06d}.jpg" for k in range(len(paths))]
    return [int(cv2.imread(str(path))[20, 20].mean().round()) for path in paths]


@pytest.mark.parametrize("fps,want", [(10, 1), (5, 0.5), (20, 2)])
def test_frames_of_a_stretch(fps, want, tmp_path):
    (tmp_path / "films").mkdir()
    film(tmp_path / "films/a.mp4", 6, 10)
    prepare_ava(str(tmp_path / "films"), str(tmp_path / "out"), Cut(2, 3, fps), 0)
    found = greys(tmp_path / "out", "a")
    assert len(found) == 3 * fps
    sources = [20 + np.floor(k / want + (0.5 if want < 1 else 0)) for k in range(len(found))]
    near = np.abs(np.array(found) - 3 * np.array(sources)).max()
    assert near <= (2 if want >= 1 else 5)


def test_goes_on_where_it_stopped(tmp_path):
    (tmp_path / "films").mkdir()
    for name in "ab":
        film(tmp_path / f"films/{name}.mp4", 4, 10)
    (tmp_path / "films/c.mp4").write_bytes(b"no film")
    out = tmp_path / "out"
    with pytest.raises(DataError, match="1 of 3 films could not be cut(.|\n)*c: "):
        prepare_ava(str(tmp_path / "films"), str(out), Cut(1, 9, 10), 0)
    assert len(list((out / "a").iterdir())) == 30
    with pytest.raises(DataError, match="out: its files were made with fps 10 .now 5.: take that"):
        prepare_ava(str(tmp_path / "films"), str(out), Cut(1, 9, 5), 0)
    shutil.rmtree(out / "b")
    (out / "b.part").mkdir()
    (out / "b.part/b_000001.jpg").write_text("half")
    before = (out / "a").stat().st_mtime_ns
    (tmp_path / "films/c.mp4").unlink()
    text = prepare_ava(str(tmp_path / "films"), str(out), Cut(1, 9, 10), 0)
    assert "frames of 2 films, 1 of them from before" in text
    assert "fewer than 90 frames: a (30), b (30)" in text
    assert (out / "a").stat().st_mtime_ns == before and len(greys(out, "b")) == 30


def test_check(tmp_path):
    write_ava(tmp_path, train=2, val=1)
    opts = "VIDEO.NUM_CLIPS 3 DATA_LOADER.NUM_WORKERS 0 TRAIN.BATCH_SIZE 6".split()
    cfg = load_cfg(None, [*settings(tmp_path), *opts])
    report = build_ava_report(cfg, "train", 0)
    assert report.unusable == 0 and "nothing amiss" in str(report)
    assert "20 key frames of 2 videos" in str(report)
    assert str(report).splitlines()[0].endswith("; 40 boxes; 80 to 80 frames a video")

    with (tmp_path / "annotations/train.csv").open("a") as file:
        file.write("t0,0003,0.2,0.2,1.5,0.4,1,0\nt0,0003,0.5,0.2,0.4,0.4,1,0\nt0,12,0,0,1,1,1,0\n")
    for k in range(5 * FPS):
        (tmp_path / f"frames/t1/t1_{10 * FPS - k:06d}.png").unlink()
    (tmp_path / "frames/t0/t0_000009.png").unlink()
    text = str(build_ava_report(load_cfg(None, [*settings(tmp_path), *opts]), "train", 0))
    assert "boxes outside 0..1: 1 (train.csv: 1 rows, first t0 at 3)" in text
    assert "boxes without area: 1 (train.csv: 1 rows, first t0 at 3)" in text
    assert "map" not in text
    assert "cannot be read: 1 (t0: " in text and "t0_000009.png is missing" in text
    told = "t1: 5 of 10, first 5; expected 73 frames or more at 8 a second, found 40"
    assert f"seconds without frames: 1 ({told})" in text
    fixed = load_cfg(None, [*settings(tmp_path), *opts, "AVA.KEYFRAME_RANGE", "[0,9]"])
    text = str(build_ava_report(fixed, "train", 0))
    assert "seconds outside the annotated range: 1 (train.csv: 1 rows, first t0 at 12)" in text


def test_check_of_a_variable_rate(tmp_path):
    """The last of its frames is at the last key frame, of ten seconds; by number it were not."""
    write_ava(tmp_path, train=1, val=1)
    (tmp_path / "films").mkdir()
    for name in ("t0", "v0"):
        frames = [k for k in range(9 * FPS + 1) if k < 2 * FPS or k % FPS == 0]
        write_video(tmp_path / f"films/{name}.mp4", len(frames), FPS, pts=frames)
    opts = ["DATA.NUM_FRAMES", "4", "AVA.FRAME_DIR", str(tmp_path / "films")]
    report = build_ava_report(load_cfg(None, [*settings(tmp_path), *opts]), "train", 0)
    assert "nothing amiss" in str(report), str(report)


def test_check_of_a_ground_truth_beyond_frames_and_detections(tmp_path):
    write_ava(tmp_path, train=1, val=2, seconds=4)
    notes = tmp_path / "annotations"
    persons = (notes / "persons.csv").read_text().splitlines()
    (notes / "persons.csv").write_text("\n".join(x for x in persons if x[:2] == "v0") + "\n")
    with (notes / "val.csv").open("a") as file:
        file.write("v0,0007,0.1,0.1,0.5,0.5,1,0\n")
    opts = ["DATA.NUM_FRAMES", 4, "AVA.KEYFRAME_RANGE", "[0,9]"]
    text = str(build_ava_report(load_cfg(None, [*settings(tmp_path), *map(str, opts)]), "test", 0))
    told = "v0: 1 of 5, first 7; expected 57 frames or more at 8 a second, found 32"
    assert f"seconds without frames: 1 ({told})" in text
    assert "in which no box is asked for: 1 (val.csv: 8 rows, first v1 at 0)" in text


def test_check_of_ids(tmp_path):
    """The tool, and a label map that lacks a class of the ground truth."""
    write_ava(tmp_path, train=1, val=1, seconds=4)
    notes = tmp_path / "annotations"
    (notes / "labels.pbtxt").write_text('item {\n  name: "a"\n  id: 1\n}\n')
    (notes / "val.csv").write_text("v0,0001,0.1,0.1,0.5,0.5,1,0\nv0,0002,0.1,0.1,0.5,0.5,3,0\n")
    (tmp_path / "none.yaml").write_text("DATA: {NUM_FRAMES: 4}\n")
    command = [sys.executable, str(ROOT / "tools/check_data.py"), "--cfg", tmp_path / "none.yaml"]
    command += [
        "--splits",
        "train",
        "test",
        "--workers",
        0,
        "--opts",
        *settings(tmp_path),
        "AVA.TEST_PREDICT_BOX_LISTS",
        "[]",
    ]
    run = partial(subprocess.run, capture_output=True, text=True, env=ENVIRONMENT)
    result = run(list(map(str, command)))
    told = "ids outside the label map, which nobody evaluates"
    assert result.returncode == 0, result.stderr
    assert f"{told}: 3: 1 (val.csv: 1 rows, first v0 at 2)" in result.stdout
    assert f"{told}: 2: 1 (train.csv: 4 rows, first t0 at 0)" in result.stdout
    assert "are not for TASK detection" in run([*map(str, command), "--sample", "3"]).stderr
