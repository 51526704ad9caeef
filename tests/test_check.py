"""What tools/check_data.py says of lists and videos, and the lists without what cannot be used."""

from pathlib import Path

import pytest
from list_tools import cfg_for, make_charades, run_tool

from cmvl.data import build_dataset
from cmvl.data.check import check
from cmvl.data.decode import open_video

from video_files import cut, write_frames, write_video


def test_check_names_every_trouble(tmp_path):
    sound = [write_video(tmp_path / f"{i}.mp4", 20) for i in range(3)]
    short, broken = write_video(tmp_path / "s.mp4", 3), cut(write_video(tmp_path / "b.mp4", 30))
    frames = write_frames(tmp_path / "frames", 20)
    rows = [*sound[:1], tmp_path / "gone.mp4", short, broken, frames]
    text = "".join(f"{path} {i % 3}\n" for i, path in enumerate(rows))
    lists = tmp_path / "lists"
    lists.mkdir()
    for split in ("train", "val", "test"):
        (lists / f"{split}.csv").write_text(text)
    config = tmp_path / "c.yaml"
    config.write_text("DATA: {NUM_FRAMES: 8, SAMPLING_RATE: 2}\nMODEL: {NUM_CLASSES: 4}\n")
    result = run_tool(
        "check_data.py", "--cfg", config, "--splits", "train", "--workers", 0, "--out",
        tmp_path / "clean", "--opts", "DATA.PATH_TO_DATA_DIR", lists,
    )  # fmt: skip
    assert result.returncode == 1 and result.stderr.endswith("2 videos cannot be used\n")
    assert "5 videos, 5 opened; missing 1, broken 1, short 1" in result.stdout
    assert f"missing: train.csv:2: {tmp_path}/gone.mp4" in result.stdout
    assert f"short: train.csv:3: {short}: 3 frames, a clip spans 16" in result.stdout
    assert f"broken: train.csv:4: {broken}: it is no video file" in result.stdout
    assert "videos of a class: 0 to 2, median 1.5; 1 of 4 classes have none (3)" in result.stdout
    clean = (tmp_path / "clean" / "train.csv").read_text().splitlines()
    assert [line.split()[0] for line in clean] == [str(sound[0]), str(short), str(frames)]
    data = build_dataset(cfg_for(lists, "Kinetics", 3), "val")
    assert check(data, 3, sample=2).opened == 2


def test_damage_amid_a_video_is_found_where_every_frame_is_decoded(tmp_path):
    folder = write_frames(tmp_path / "frames", 20)
    (folder / "00007.jpg").write_bytes(b"")
    video = write_video(tmp_path / "a.mp4", 60, options={"g": "12", "bf": "0"})
    data = bytearray(video.read_bytes())
    with open_video(video) as reader:
        start, size = reader.packets[20].pos, reader.packets[20].size
    data[start + 8 : start + size] = bytes(size - 8)
    video.write_bytes(data)
    (tmp_path / "train.csv").write_text(f"{folder} 0\n{video} 0\n")
    config = tmp_path / "c.yaml"
    config.write_text("DATA: {NUM_FRAMES: 8, SAMPLING_RATE: 2}\nMODEL: {NUM_CLASSES: 1}\n")
    words = ["--cfg", config, "--splits", "train", "--workers", 0]
    words += ["DATA.PATH_TO_DATA_DIR", tmp_path]
    assert run_tool("check_data.py", *words).returncode == 0
    result = run_tool("check_data.py", *words, "--every-frame")
    assert result.returncode == 1 and result.stderr == "2 videos cannot be used\n"
    assert "00007.jpg: expected a whole picture, found 0 bytes of none" in result.stdout
    assert f"broken: train.csv:2: {video}: frame 20 is lost" in result.stdout


def test_check_tells_what_stands_twice(tmp_path, monkeypatch):
    """In a list, or in training's and another: a net would be tested on what it has learnt."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        write_video(tmp_path / f"{name}.mp4", 20)
    (tmp_path / "train.csv").write_text("a.mp4 0\nb.mp4 1\n./a.mp4 1\nb.mp4 1\n")
    for split in ("val", "test"):
        (tmp_path / f"{split}.csv").write_text(f"c.mp4 0\n{tmp_path}/a.mp4 0\n")
    (tmp_path / "c.yaml").write_text("DATA: {NUM_FRAMES: 8, SAMPLING_RATE: 2}\n")
    opts = ["DATA.PATH_TO_DATA_DIR", tmp_path, "MODEL.NUM_CLASSES", 2]
    result = run_tool("check_data.py", "--cfg", tmp_path / "c.yaml", "--workers", 0, *opts)
    assert result.returncode == 0, result.stderr
    told = [line for line in result.stdout.splitlines() if "twice" in line]
    assert told == [
        "  twice: train.csv:3 is the video of train.csv:1, of another class",
        "  twice: train.csv:4 is the video of train.csv:2",
        "  twice: val.csv:2 is the video of train.csv:1",
        "  twice: test.csv:2 is the video of train.csv:1",
    ]
    words = ["--cfg", tmp_path / "c.yaml", "--workers", 0, "--splits"]
    assert run_tool("check_data.py", *words, "val", *opts).stdout.count("videos, ") == 1
    assert (
        "--splits vall: expected some of train, val"
        in run_tool("check_data.py", *words, "vall").stderr
    )
    data = build_dataset(cfg_for(tmp_path, "Kinetics", 2), "train")
    (tmp_path / "train.csv").write_text("a.mp4 0\n" * 14)
    again = build_dataset(cfg_for(tmp_path, "Kinetics", 2), "train")
    assert "  twice: and 3 more\n" in str(check(again, 2))
    assert check(data, 2, sample=1).twice == check(data, 2).twice  # of all, whatever is opened


def test_clean_charades_keeps_whole_rows(tmp_path):
    root = make_charades(tmp_path)
    text = (root / "Charades_v1_train.csv").read_text()
    (root / "Charades_v1_train.csv").write_text(text.replace("a, b", "a,\nb"))
    cfg = cfg_for(root, "Charades", 2)
    cfg.DATA.PATH_PREFIX = str(root / "rgb")
    report = check(build_dataset(cfg, "train"), 2, out=str(tmp_path / "clean"))
    assert report.unusable == 1 and "Charades_v1_train.csv:6" in report.trouble["missing"][0]
    clean = (tmp_path / "clean" / "Charades_v1_train.csv").read_text()
    assert clean.count("\n") == 5 and "X,S" not in clean and "B2,S" in clean


def test_a_clean_list_keeps_several_labels(tmp_path):
    write_video(tmp_path / "a.mp4", 20)
    (tmp_path / "train.csv").write_text('a.mp4 0,1,2\ngone.mp4 1\na.mp4 ""\na.mp4 "2"\n')
    cfg = cfg_for(tmp_path, "Kinetics", 3)
    cfg.TASK = "multi_label"
    report = check(build_dataset(cfg, "train"), 3, out=str(tmp_path / "clean"))
    assert report.classes == {0: 1, 1: 2, 2: 2}
    path = f"{tmp_path}/a.mp4"
    clean = (tmp_path / "clean" / "train.csv").read_text()
    assert clean == f'{path} 0,1,2\n{path} ""\n{path} "2"\n'


@pytest.mark.parametrize("quoted", [False, True])
def test_a_clean_list_finds_its_videos_from_another_folder(tmp_path, quoted):
    """Relative paths, in quotes as pandas writes them too."""
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos/a b.mp4", 20)
    lists = tmp_path / "lists"
    lists.mkdir()
    path = '"../videos/a b.mp4"' if quoted else "../videos/a b.mp4"
    (lists / "train.csv").write_text(f"\ufeff{path},1\n../videos/gone.mp4,0\n", encoding="utf-8")
    data = build_dataset(cfg_for(lists, "Kinetics", 2), "train")
    assert data.records.listed_path(0) == "../videos/a b.mp4"
    check(data, 2, out=str(tmp_path / "far/away/clean"))
    again = build_dataset(cfg_for(tmp_path / "far/away/clean", "Kinetics", 2), "train")
    assert len(again) == 1 and again.records.label(0) == 1
    assert Path(again.records.path(0)).samefile(tmp_path / "videos/a b.mp4")
