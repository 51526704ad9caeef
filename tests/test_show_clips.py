"""What a net is shown is what its data set takes."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from ava_data import settings, write_ava

from cmvl.config import load_cfg
from cmvl.data import build_dataset
from cmvl.report.clips import BOX, draw_clips, show_clips
from cmvl.utils.errors import DataError

from video_files import write_video

ROOT = Path(__file__).parent.parent
FRAMES = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None, None] * 2, (100, 48, 64, 3))
SMALL = (
    "DATA.NUM_FRAMES 4 DATA.SAMPLING_RATE 3 DATA.TRAIN_JITTER_SCALES [32,40] VIDEO.NUM_CLIPS 3 "
    "DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 MODEL.NUM_CLASSES 2 TEST.NUM_ENSEMBLE_VIEWS 2"
).split()


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Three videos of frames that grow brighter, of which the last is not there."""
    folder = tmp_path_factory.mktemp("lists")
    for name in ("a.mp4", "b.mp4"):
        write_video(folder / name, FRAMES, 30, options={"crf": "4"})
    text = "".join(f"{folder}/{name}.mp4 {k % 2}\n" for k, name in enumerate("abc"))
    for split in ("train", "val", "test"):
        (folder / f"{split}.csv").write_text(text)
    (folder / "classes.json").write_text('{"pour": 0, "cut": 1}')
    return folder


def dataset(lists, split, *options):
    cfg = load_cfg(None, [*SMALL, "DATA.PATH_TO_DATA_DIR", str(lists), *options])
    return build_dataset(cfg, split)


@pytest.mark.parametrize("split, rows", [("train", 3), ("val", 5), ("test", 2 * 3)])
def test_the_frames_that_are_told_are_those_of_the_clips(split, rows, lists):
    for shown in show_clips(dataset(lists, split), [1, 0], epoch=4):
        assert len(shown.rows) == len(shown.clips) == rows
        for row, clip in zip(shown.rows, shown.clips, strict=True):
            told = [int(k) for k in re.search("frames (.*)$", row)[1].split()]
            np.testing.assert_allclose(clip.float().mean((0, 2, 3)) / 2, told, atol=1)
            first, last = re.search(r": (\S+) to (\S+) s", row).groups()
            assert (first, last) == (f"{told[0] / 30:.2f}", f"{told[-1] / 30:.2f}")
    assert shown.title.startswith("train.csv:1 " if split == "train" else f"{split}.csv:1 ")
    assert shown.title.endswith("a.mp4: pour; 100 frames at 30 a second, 64 x 48")
    crops = [re.match(r"clip \d( crop \d)?", row)[0] for row in shown.rows]
    assert crops[-1] == {"train": "clip 3", "val": "clip 5", "test": "clip 2 crop 3"}[split]


def test_each_epoch_has_its_own_draw(lists):
    first, again, next_one = (
        next(show_clips(dataset(lists, "train"), [0], epoch)) for epoch in (0, 0, 1)
    )
    assert first.rows == again.rows != next_one.rows


@pytest.mark.parametrize("split, options", [("train", ()), ("test", ("TEST.SKIP_BROKEN", "True"))])
def test_another_video_is_not_shown_in_its_place(split, options, lists):
    with pytest.raises(DataError, match=f"{split}.csv:3: .*c.mp4"):
        list(show_clips(dataset(lists, split, *options), [2]))


def test_evenly_spaced(lists):
    data = dataset(lists, "train")
    assert [data.spaced(n) for n in (1, 2, 3, 9)] == [[0], [0, 2], [0, 1, 2], [0, 1, 2]]


def test_boxes_are_drawn(tmp_path):
    write_ava(tmp_path, train=1, val=1, seconds=6)
    options = [*settings(tmp_path), *SMALL, "TASK", "detection", "MODEL.NUM_CLASSES", "3"]
    data = build_dataset(load_cfg(None, options), "train")
    (shown,) = show_clips(data, [2])
    assert shown.title == "t0 at second 2" and len(shown.rows) == 3
    for n, row in enumerate(shown.rows):
        green = (shown.clips[n, :, 0].permute(1, 2, 0).numpy() == BOX).all(-1).any()
        assert green == (row != f"clip {n + 1}: 0 boxes")
    assert any(row.endswith(("1 boxes", "2 boxes")) for row in shown.rows)


def test_tool(lists, tmp_path):
    tool = [sys.executable, str(ROOT / "tools/show_clips.py"), "--cfg"]
    tool += [str(ROOT / "configs/your_data/R3D18_CM.yaml"), *SMALL]
    tool += ["DATA.PATH_TO_DATA_DIR", str(lists), "--out", str(tmp_path / "new/clips.png")]
    done = subprocess.run([*tool, "--lines", "2", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^train.csv:\d", done.stdout, re.M) == ["train.csv:2", "train.csv:1"]
    height, width = cv2.imread(str(tmp_path / "new/clips.png")).shape[:2]
    assert height > width / 2
    done = subprocess.run([*tool, "--lines", "4"], capture_output=True, text=True)
    assert done.returncode == 2 and "--lines 4: the list has 3" in done.stderr


def test_a_figure_has_a_panel_for_each_video(lists):
    shown = list(show_clips(dataset(lists, "train"), [0, 1]))
    figure = draw_clips(shown)
    assert [len(axes.get_yticklabels()) for axes in figure.axes] == [3, 3]
    assert [axes.get_title(loc="left") for axes in figure.axes] == [one.title for one in shown]
