"""The commands and the code of docs/predict.md, run in turn on small videos."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from ava_data import settings, write_ava
from trained_nets import write_checkpoint

from video_files import pictures, write_video

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/predict.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
LINES = [line for block in BLOCKS for line in block.splitlines()]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = tmp_path_factory.mktemp("predict_desk")
    (desk / "my_videos").mkdir()
    write_video(desk / "my_videos/one.mp4", 30)
    write_video(desk / "my_videos/long.mp4", pictures(100, seed=1))
    (desk / "my_list.csv").write_text("my_videos/one.mp4 2\nmy_videos/long.mp4 0\n")
    write_checkpoint(desk / "output/cm/checkpoints/checkpoint_epoch_00001.pyth")
    write_ava(desk / "ava", train=1, val=1, seconds=4)
    opts = [*settings(desk / "ava"), "AVA.KEYFRAME_RANGE", "[0,3]"]
    write_checkpoint(desk / "output/ava/checkpoints/checkpoint_epoch_00001.pyth", opts)
    (desk / "my_films").mkdir()
    write_video(desk / "my_films/film.mp4", 100)
    (desk / "persons.csv").write_text("film,0001,0.1,0.1,0.5,0.9,,0.95\n")
    return desk


def test_page_has_commands():
    tools = [line.split()[1] for line in LINES]
    assert tools.count("tools/predict.py") >= 7 and tools.count("tools/extract_features.py") >= 4


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.split()[1:])[:60])
def test_command(line, desk, monkeypatch, capsys):
    python, tool, *arguments = shlex.split(line)
    assert python == "python"
    monkeypatch.chdir(desk)
    monkeypatch.setattr(sys, "argv", [tool, *arguments])
    runpy.run_path(str(ROOT / tool), run_name="__main__")  # an error would exit
    told = capsys.readouterr()
    said = "4 of 4 videos are in predictions.json already" if "--resume" in line else "mp4"
    assert said in told.out and not told.err
    for place in re.findall(r"--(?:json|csv|html|mp4|out) (\S+)", line):
        assert (desk / place).exists()


def test_code(desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(code, names := {})
    assert len(names["result"].top(5)) == 3 and "stir" in capsys.readouterr().out


def test_what_is_said_of_features(desk):
    with np.load(desk / "features/one.npz") as made, np.load(desk / "features/head.npz") as head:
        described = ("features", "times", "path", "label", "label_name", "frames", "fps")
        assert set(made) == set(described)
        assert all(f"`{name}`" in PAGE for name in (*described, "weight", "bias", "class_names"))
        assert (made["features"] @ head["weight"].T + head["bias"]).shape == (4, 3)
    with np.load(desk / "video_features/one.npz") as made:
        assert made["label"] == 2 and made["label_name"] == "café, cut"
    with np.load(desk / "window_features/long.npz") as made:
        assert len(made["features"]) == 3
