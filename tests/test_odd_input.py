"""Tools given what they were not made for: the right output, or one clear line and status 1."""

import csv
import json
import os
import runpy
import sys
from pathlib import Path

import av
import pytest
from run_folders import write_run
from trained_nets import write_checkpoint

from cmvl.report.videos import Places, Source

from video_files import cut, pictures, write_sound, write_video

ROOT = Path(__file__).parent.parent
USABLE = {
    "one frame.mp4": {"frames": pictures(1)},
    "slow, 6 fps.mp4": {"frames": pictures(20), "fps": 6},
    "tall é, a b.mp4": {"frames": pictures(40, height=96, width=32)},
    "turned.mp4": {"frames": pictures(40), "rotation": 90},
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A checkpoint, a run's log, odd videos and broken ones."""
    desk = tmp_path_factory.mktemp("odd")
    write_checkpoint(desk / "output/cm/checkpoints/checkpoint_epoch_00001.pyth")
    line = {"kind": "train", "epoch": 1, "step": 1, "steps": 1, "loss": 1.0}
    write_run(desk / "output/log", [line])
    (desk / "odd, videos").mkdir()
    for name, how in USABLE.items():
        write_video(desk / "odd, videos" / name, **how)
    write_sound(desk / "odd, videos" / "sound.mp4")
    (desk / "odd, videos" / "zero.mp4").touch()
    (desk / "odd, videos" / "text.mp4").write_text("no video")
    cut(write_video(desk / "odd, videos" / "half.mp4", 40), 0.5)  # before its index
    return desk


@pytest.fixture
def tool(desk, monkeypatch, capsys):
    """Run a tool in the desk; its exit status or message, and what it printed."""

    def tool(name, *arguments):
        monkeypatch.chdir(desk)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")
        except SystemExit as end:
            return end.code, capsys.readouterr()
        return 0, capsys.readouterr()

    return tool


def test_a_folder_of_odd_videos_is_predicted_but_for_the_broken(desk, tool):
    end, told = tool("predict.py", "output/cm", "odd, videos", "--json", "p.json", "--csv", "p.csv")
    assert end == "4 of 8 videos could not be read"
    assert "expected a video stream" in told.err and "found 0 bytes" in told.err
    assert told.err.count("it is no video file, or one cut off before its index") == 2
    said = json.loads((desk / "p.json").read_text())["videos"]
    assert {Path(video["path"]).name for video in said} == set(USABLE)
    with (desk / "p.csv").open(newline="", encoding="utf-8") as file:
        assert {Path(row["path"]).name for row in csv.DictReader(file)} == set(USABLE)


def test_every_video_has_files_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    long = "é" * 120
    paths = ["x/a.mp4", "x/b/c.mp4", "x_b/c.mp4", f"{long}.mp4", f"x/{long}.mkv", f"y/{long}d.mp4"]
    places = Places([Source(path) for path in paths])
    names = [places.of(Source(path), Path("out"), ".html").name for path in paths]
    assert names[0] == "a.html" and names[1].startswith("x_b_c.mp4_")
    assert len(set(names)) == len(paths) and all(len(os.fsencode(name)) < 250 for name in names)
    again = Places([Source(path) for path in reversed(paths)])
    assert [again.of(Source(path), Path("out"), ".html").name for path in paths] == names
    assert places.of(Source("x/a.mp4"), Path("out.html"), ".html") == Path("out.html")


@pytest.mark.parametrize("name", USABLE)
def test_pages_and_films_of_odd_videos(desk, tool, name):
    end, _ = tool(
        "predict.py", "output/cm", f"odd, videos/{name}", "--html", "p.html", "--mp4", "p.mp4"
    )
    assert end == 0 and name in (desk / "p.html").read_text(encoding="utf-8")
    with av.open(str(desk / "p.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == len(USABLE[name]["frames"])
    end, told = tool("predict.py", "output/cm", f"odd, videos/{name}", "--window", 1)
    assert end == 0 and " - " in told.out


def test_features_of_odd_videos(desk, tool):
    end, told = tool("extract_features.py", "output/cm", "odd, videos", "--out", "features")
    assert end == "4 of 8 videos could not be read"
    assert {path.stem + ".mp4" for path in (desk / "features").glob("*.npz")} >= set(USABLE)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("predict.py", "output/cm odd.mp4", "1 of 1 videos could not be read"),
        ("predict.py", "output/none odd.mp4", "error: output/none: no such weights file"),
        ("predict.py", "p.txt odd.mp4", "error: p.txt: not a readable torch file"),
        ("predict.py", "output/cm v.mp4 --json p.txt/a.json", "error: p.txt: "),
        ("predict.py", "output/cm v.mp4 --html p.txt/a.html", "error: p.txt: "),
        ("predict.py", "output/cm v.mp4 --opts MODEL.NUM_CLASSES 5", "3, 32) in the file, (5, 32"),
        ("report.py", "output/log --out p.txt/a.html", "error: p.txt: "),
        ("report.py", "output/none", "error: output/none: not a run's OUTPUT_DIR"),
        ("plot_log.py", "output/log --out curves", "expected a name that ends in .png"),
        ("paper.py", "--table 2c --results output/none", "error: output/none: no such folder"),
        (
            "prepare_data.py",
            "kinetics --train a.csv --val a.csv --videos . --out l",
            "a.csv: No su",
        ),
        ("prepare_data.py", "folder --videos output/none --out l", "none: no such folder"),
        ("prepare_data.py", "folder --videos . --out l --split 80", "--split 80.0: expected"),
        ("prepare_data.py", "ava --videos . --out l --workers -1", "--workers -1: expected"),
    ],
)
def test_mistakes_are_told_in_one_line(desk, tool, name, arguments, message):
    (desk / "p.txt").write_text("no folder")
    write_video(desk / "v.mp4", 5)
    end, _ = tool(name, *arguments.split())
    assert message in str(end), end


def test_prepared_lists_leave_out_what_cannot_be_read(desk, tool):
    (desk / "sets" / "a, b").mkdir(parents=True)
    for path in (desk / "odd, videos").iterdir():
        (desk / "sets" / "a, b" / path.name).write_bytes(path.read_bytes())
    end, told = tool(
        "prepare_data.py", "folder", "--videos", "sets", "--out", "lists", "--split", 1,
        "--encode-to", "small", "--workers", 0,
    )  # fmt: skip
    assert end == 0 and "left out, empty file: 1" in told.out
    assert "text.mp4: unreadable: cannot be decoded to its end (Invalid data found" in told.out
    lines = (desk / "lists/train.csv").read_text(encoding="utf-8").splitlines()
    assert sorted(Path(line.rpartition(" ")[0]).name for line in lines) == sorted(USABLE)


@pytest.mark.parametrize(
    ("tool", "words", "told"),
    [
        ("benchmark", "train --cfg any.yaml --videos", "--videos"),
        ("slurm", "--cfg any.yaml --nodes", "--nodes"),
        ("make_demo_data", "--out nowhere --train", "--train"),
        ("demo", "--out nowhere --test", "--test"),
        ("scaling", "--cfg any.yaml --machines", "--machines"),
    ],
)
def test_none_of_what_is_counted_is_refused(tool, words, told, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [tool, *words.split(), "0"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / f"tools/{tool}.py"), run_name="__main__")
    assert f"{told}: invalid positive value: '0'" in capsys.readouterr().err
