"""From official annotations and a folder on disk to lists, small videos and a report."""

import csv
import os

import av
import numpy as np
import pytest
from ava_data import settings, write_ava
from list_tools import cfg_for, make_charades, run_tool

from cmvl.data import build_dataset
from cmvl.data import prepare_sets as sets
from cmvl.data.decode import open_video, probe
from cmvl.data.prepare import prepare, write_list
from cmvl.data.reencode import Encoding, reencode
from cmvl.utils.errors import DataError, VideoError

from video_files import cut, pictures, write_frames, write_sound, write_video


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    """Four annotated videos: one sound, one in two words, one empty, one not there."""
    root = tmp_path_factory.mktemp("k400")
    row = "{},{},0,10,{},0\n"
    head = "label,youtube_id,time_start,time_end,split,is_cc\n"
    videos = [("yoga", "a"), ("bee keeping", "b"), ("yoga", "empty"), ("yoga", "gone")]
    (root / "train.csv").write_text(head + "".join(row.format(*v, "train") for v in videos))
    (root / "val.csv").write_text(head + row.format("yoga", "v", "val"))
    (root / "videos" / "bee keeping").mkdir(parents=True)
    write_video(root / "videos" / "a_000000_000010.mp4", pictures(30, 96, 130), fps=30)
    write_video(root / "videos" / "bee keeping" / "b_000000_000010.mkv", pictures(20, 48, 64))
    write_video(root / "videos" / "v_000000_000010.mp4", pictures(20, 48, 64))
    (root / "videos" / "empty_000000_000010.mp4").touch()
    return root


def test_kinetics_lists(kinetics, tmp_path):
    result = run_tool(
        "prepare_data.py", "kinetics", "--train", kinetics / "train.csv", "--val",
        kinetics / "val.csv", "--videos", kinetics / "videos", "--out", tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "train.csv: 2 of 4 videos" in result.stdout and "val.csv: 1 of 1" in result.stdout
    assert "left out, not on disk: 1" in result.stdout and "empty file: 1" in result.stdout
    assert "train.csv:5 gone_000000_000010: not on disk" in result.stdout
    assert len((tmp_path / "left_out.csv").read_text().splitlines()) == 2
    assert (tmp_path / "test.csv").read_text() == (tmp_path / "val.csv").read_text()
    assert (tmp_path / "classes.json").read_text().split() == ["{", '"bee', 'keeping":', "0,"] + [
        '"yoga":', "1", "}",
    ]  # fmt: skip
    data = build_dataset(cfg_for(tmp_path, "Kinetics", 2), "train")
    assert [int(data[i].label) for i in (0, 1)] == [1, 0] and not data[0].failures


def test_kinetics_encoded_anew(kinetics, tmp_path):
    splits, classes = sets.kinetics_entries(str(kinetics / "train.csv"), str(kinetics / "val.csv"))
    options = (Encoding(48, fps=15, gop=4), str(tmp_path / "small"))

    def again():
        lists = str(tmp_path / "lists")
        return prepare(splits, classes, str(kinetics / "videos"), lists, write_list, *options)

    assert again().counts == {"test": (1, 1), "train": (2, 4), "val": (1, 1)}
    small = tmp_path / "small" / "a_000000_000010.mp4"
    info = probe(small)
    assert (info.height, info.width, info.fps) == (48, 64, 15) and 14 <= info.frames <= 16
    with open_video(small) as video:
        keys = [i for i, packet in enumerate(video.packets) if packet.is_keyframe]
        assert max(np.diff([*keys, len(video.packets)])) <= 4
    before = small.stat().st_mtime_ns
    again()
    assert small.stat().st_mtime_ns == before  # what is done is not done again
    other, options = options, (Encoding(32, fps=15, gop=8), options[1])
    told = "short_side 48 .now 32., gop 4 .now 8.: take that again, or another folder"
    with pytest.raises(DataError, match=f"small: its files were made with {told}"):
        again()
    options = other
    (tmp_path / "small/made_with.json").write_text("[]")
    with pytest.raises(DataError, match="made_with.json: expected the settings of this folder's f"):
        again()
    line = (tmp_path / "lists" / "train.csv").read_text().splitlines()[1]
    assert line == f"{tmp_path}/small/bee keeping/b_000000_000010.mp4 0"


def test_encoding_keeps_frames_and_turns_them_upright(tmp_path):
    frames = np.zeros((20, 64, 96, 3), np.uint8)
    frames[:, :32, :48] = np.arange(60, 220, 8, dtype=np.uint8)[:, None, None, None]
    pts = np.cumsum([1, 2, 1, 3] * 5)
    for turn in (0, 90, 180, 270):
        source = write_video(tmp_path / f"{turn}.mp4", frames, pts=pts, rotation=turn)
        target = str(tmp_path / "small" / f"{turn}.mp4")
        reencode(str(source), target, Encoding(short_side=32))
        with open_video(source) as old, open_video(target) as new:
            height, width = old.info.height // 2, old.info.width // 2
            assert (new.info.frames, new.info.height, new.info.width) == (20, height, width)
            gaps = [np.diff(np.array(v.times) / v.times[-1]) for v in (old, new)]
            np.testing.assert_allclose(*gaps, atol=0.01)
            for k in (0, 10, 19):
                a, b = old.read([k], size=(height, width))[0], new.read([k])[0]
                assert abs(a.astype(int) - b).mean() < 6, (turn, k)
    assert sorted(os.listdir(tmp_path / "small")) == ["0.mp4", "180.mp4", "270.mp4", "90.mp4"]


def test_small_videos_are_not_enlarged_and_sides_are_even(tmp_path):
    source = write_video(tmp_path / "a.mkv", pictures(6, 49, 65), codec="ffv1", pix_fmt="yuv444p")
    reencode(str(source), str(tmp_path / "b.mp4"), Encoding(256))
    info = probe(tmp_path / "b.mp4")
    assert (info.frames, info.height, info.width) == (6, 48, 64)


def test_encoding_keeps_the_meaning_of_colours(tmp_path):
    source = write_video(tmp_path / "a.mp4", 5, options={"x264-params": "colormatrix=bt709"})
    reencode(str(source), str(tmp_path / "b.mp4"), Encoding(32))
    tags = []
    for path in (source, tmp_path / "b.mp4"):
        with av.open(str(path)) as container:
            tags.append(int(next(container.decode(video=0)).colorspace))
    assert tags == [1, 1]
    with open_video(source) as old, open_video(tmp_path / "b.mp4") as new:
        a, b = old.read([2], size=(32, 42))[0], new.read([2])[0]
        assert abs(a.mean((0, 1)) - b.mean((0, 1))).max() < 3


def test_what_cannot_be_encoded_leaves_nothing_behind(tmp_path):
    broken = cut(write_video(tmp_path / "a.mp4", 30))
    for source in (broken, write_sound(tmp_path / "b.mp4")):
        with pytest.raises(VideoError, match=source.name):
            reencode(str(source), str(tmp_path / "out" / "a.mp4"), Encoding())
    assert os.listdir(tmp_path / "out") == []


def test_charades_lists(tmp_path):
    root = make_charades(tmp_path)
    lists = tmp_path / "lists"
    result = run_tool(
        "prepare_data.py", "charades", "--annotations", root, "--videos", root, "--out", lists
    )
    assert result.returncode == 0, result.stderr
    assert "train.csv: 2 of 3 videos" in result.stdout and "2 classes" in result.stdout
    with open(lists / "val.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["frames"] == "24" and rows[0]["actions"] == "c000 0.5 1;c001 1 2"
    train = build_dataset(cfg_for(lists, "Charades", 2), "train")
    assert train[0].label.tolist() == [0, 1] and train[1].label.tolist() == [0, 0]
    assert not train[0].failures and train.records.frames(0) == 24


def test_folder_lists(tmp_path):
    for i in range(10):
        (tmp_path / "all" / "jump").mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / "all" / "jump" / f"{i}.mp4", 2)
    write_frames(tmp_path / "all" / "walk slowly" / "only one", 5)
    splits, classes = sets.folder_entries(str(tmp_path / "all"), 0.7, seed=0)
    assert classes == {"jump": 0, "walk slowly": 1}
    assert [len(splits[s]) for s in ("train", "val", "test")] == [8, 3, 3]
    names = {entry.name for entry in splits["train"]} | {entry.name for entry in splits["val"]}
    assert len(names) == 11
    assert sets.folder_entries(str(tmp_path / "all"), 0.7, seed=0) == (splits, classes)
    result = prepare(splits, classes, str(tmp_path / "all"), str(tmp_path / "out"), write_list)
    assert not result.left_out
    data = build_dataset(cfg_for(tmp_path / "out", "Kinetics", 2), "train")
    assert not any(data[i].failures for i in range(8))


def test_folders_in_class_folders(tmp_path):
    """Of many people, say, who call their videos alike."""
    videos, small = tmp_path / "videos", tmp_path / "small"
    names = ["anna/1.mkv", "anna/1.mp4", "anna/2.mp4", "bert/1.mp4"]
    for i, name in enumerate(names):
        (videos / "jump" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(videos / "jump" / name, 10 + i)
    splits, classes = sets.folder_entries(str(videos), 1, seed=0)
    assert sorted(entry.name for entry in splits["train"]) == [f"jump/{name}" for name in names]
    options = (write_list, Encoding(32), str(small), 0)
    prepare(splits, classes, str(videos), str(tmp_path / "lists"), *options)
    data = build_dataset(cfg_for(tmp_path / "lists", "Kinetics", 1), "train")
    found = {data.records.path(i): probe(data.records.path(i)).frames for i in range(len(data))}
    written = ["anna/1.mkv.mp4", "anna/1.mp4.mp4", "anna/2.mp4", "bert/1.mp4"]
    assert found == {str(small / "jump" / name): 10 + i for i, name in enumerate(written)}


def test_a_line_break_in_a_name_is_told(tmp_path):
    """No list can hold it."""
    for name in ("a\nb.mp4", "c;d.mp4"):
        (tmp_path / "videos/jump").mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / "videos/jump" / name, 5)
    splits, classes = sets.folder_entries(str(tmp_path / "videos"), 1, seed=0)
    result = prepare(splits, classes, str(tmp_path / "videos"), str(tmp_path / "out"), write_list)
    assert result.counts["train"] == (1, 2) and "left out, line break in its path: 1" in str(result)
    left = (tmp_path / "out/left_out.csv").read_text()
    assert left == "jump;jump/a\\nb.mp4;line break in its path: rename it\n"
    data = build_dataset(cfg_for(tmp_path / "out", "Kinetics", 1), "train")
    assert len(data) == 1 and not data[0].failures


def test_folder_lists_with_splits_on_disk(tmp_path):
    for split in ("train", "val"):
        write_frames(tmp_path / split / "jump" / "a", 3)
    splits, _ = sets.folder_entries(str(tmp_path), 0.8, seed=0)
    assert splits["train"][0].name == "train/jump/a" and splits["test"] == splits["val"]
    write_frames(tmp_path / "val" / "fly" / "a", 3)
    with pytest.raises(DataError, match="val/fly: there is no such class in train"):
        sets.folder_entries(str(tmp_path), 0.8, seed=0)


def test_nothing_found(kinetics, tmp_path):
    splits, classes = sets.kinetics_entries(str(kinetics / "train.csv"), str(kinetics / "val.csv"))
    with pytest.raises(DataError, match="none of the 6 annotated videos is here"):
        prepare(splits, classes, str(tmp_path), str(tmp_path), write_list)
    with pytest.raises(DataError, match="Charades_v1_train.csv: no such file"):
        sets.charades_entries(str(tmp_path))
    make_charades(tmp_path)
    (tmp_path / "Charades_v1_classes.txt").write_text("c000 Holding clothes\n\nOpening\n")
    with pytest.raises(DataError, match="classes.txt:3: expected 'c000 Holding some clothes', got"):
        sets.charades_entries(str(tmp_path))
    (tmp_path / "Charades_v1_train.csv").write_text("ID,actions\n")
    with pytest.raises(DataError, match="_train.csv: expected the columns of .* got 'ID,actions'"):
        sets.charades_entries(str(tmp_path))
    csv_of_test = tmp_path / "test.csv"
    csv_of_test.write_text("youtube_id,time_start,time_end,split\nx,0,10,test\n")
    with pytest.raises(DataError, match="test.csv:2: no label"):
        sets.kinetics_entries(*(str(kinetics / f"{s}.csv") for s in ("train", "val")), csv_of_test)


def test_tools_for_ava(tmp_path):
    (tmp_path / "films").mkdir()
    write_video(tmp_path / "films" / "a.mp4", 30)
    result = run_tool(
        "prepare_data.py", "ava", "--videos", tmp_path / "films", "--out", tmp_path / "out",
        "--start", 0, "--seconds", 1, "--fps", 5, "--workers", 0,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "frames of 1 films" in result.stdout and len(os.listdir(tmp_path / "out/a")) == 5
    write_ava(tmp_path / "ava", train=2, val=1)
    (tmp_path / "c.yaml").write_text("TASK: detection\n")
    result = run_tool(
        "check_data.py", "--cfg", tmp_path / "c.yaml", "--splits", "train", "--workers", 0,
        "--opts", *settings(tmp_path / "ava"), "VIDEO.NUM_CLIPS", 3, "TRAIN.BATCH_SIZE", 6,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "nothing amiss" in result.stdout
