"""Lists from the official splits of UCF101, HMDB51 and Diving48."""

import json

import pytest
from list_tools import cfg_for, run_tool

from cmvl.data import build_dataset
from cmvl.data.prepare_splits import diving48_entries, hmdb51_entries, ucf101_entries
from cmvl.utils.errors import DataError

from video_files import write_video


def labels(lists, split, classes):
    """By name of file."""
    data = build_dataset(cfg_for(lists, "Kinetics", classes), split)
    assert not any(data[i].failures for i in range(len(data)))
    return {data.records.path(i).rsplit("/", 1)[1]: int(data[i].label) for i in range(len(data))}


def prepare(name, annotations, videos, out, *more):
    done = run_tool(
        "prepare_data.py", name, "--annotations", annotations, "--videos", videos, "--out", out,
        *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder, **texts):
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_ucf101(tmp_path):
    train, test = "Archery/v_Archery_g08_c01.avi", "YoYo/v_YoYo_g01_c01.avi"
    lists = {f"{kind}list{k:02d}__txt": "" for kind in ("train", "test") for k in (1, 3)}
    lists |= {"trainlist02__txt": f"{train} 1\r\n", "testlist02__txt": f"{test}\r\n\r\n"}
    splits = write(tmp_path / "splits", classInd__txt="1 Archery\r\n2 YoYo\r\n", **lists)
    for video in (train, test):
        (tmp_path / "UCF-101" / video).parent.mkdir(parents=True)
        write_video(tmp_path / "UCF-101" / video, 10, codec="mpeg4")
    said = prepare("ucf101", splits, tmp_path / "UCF-101", tmp_path / "lists", "--fold", 2)
    assert "train.csv: 1 of 1 videos\nval.csv: 1 of 1 videos\ntest.csv: 1 of 1" in said
    assert labels(tmp_path / "lists", "train", 2) == {"v_Archery_g08_c01.avi": 0}
    assert labels(tmp_path / "lists", "test", 2) == {"v_YoYo_g01_c01.avi": 1}
    names = json.loads((tmp_path / "lists/classes.json").read_text())
    assert names == {"Archery": 0, "YoYo": 1}


@pytest.mark.parametrize(
    "file, text, told",
    [
        ("classInd.txt", "Archery\n", "classInd.txt:1: expected '1 ApplyEyeMakeup', got 'Archery'"),
        ("classInd.txt", "2 Archery\n", "classInd.txt: expected every index 0..0 once"),
        ("trainlist01.txt", "\nDive/a.avi 1\n", "trainlist01.txt:2: expected 'CLASS/VIDEO.avi NU"),
        ("trainlist01.txt", "Archery/a.avi 2\n", "trainlist01.txt:1: expected .* got 'Archery/a"),
        ("testlist01.txt", None, "testlist01.txt: no such file; it comes with the data set's anno"),
    ],
)
def test_ucf101_that_cannot_be_used(file, text, told, tmp_path):
    lists = {"trainlist01__txt": "Archery/a.avi 1\n", "testlist01__txt": "Archery/b.avi\n"}
    write(tmp_path, classInd__txt="1 Archery\n", **lists)
    assert len(ucf101_entries(str(tmp_path), 1)[0]["test"]) == 1
    (tmp_path / file).unlink()
    if text is not None:
        (tmp_path / file).write_text(text)
    with pytest.raises(DataError, match=told):
        ucf101_entries(str(tmp_path), 1)


def test_hmdb51(tmp_path):
    """Names with signs that separate the columns of other lists."""
    names = ["#1_Day;_wave_u_1.avi", "A,B & (C)!_wave_u_2.avi", "c_wave_u_3.avi", "d_hug_u_4.avi"]
    rows = [f"{name} {role} \n" for name, role in zip(names, (1, 2, 0, 1), strict=True)]
    splits = tmp_path / "[splits]"
    write(splits, wave_test_split3__txt="".join(rows[:3]), hug_test_split3__txt=rows[3])
    write(splits, wave_test_split1__txt="other.avi 1\n")
    for name in names:
        folder = tmp_path / "hmdb51" / name.split("_")[-3]
        folder.mkdir(parents=True, exist_ok=True)
        write_video(folder / name, 10, codec="mpeg4")
    said = prepare("hmdb51", splits, tmp_path / "hmdb51", tmp_path / "lists", "--fold", 3)
    assert "train.csv: 2 of 2 videos\nval.csv: 1 of 1 videos" in said and "2 classes" in said
    assert labels(tmp_path / "lists", "train", 2) == {names[0]: 1, names[3]: 0}
    assert labels(tmp_path / "lists", "val", 2) == {names[1]: 1}
    write(splits, hug_test_split3__txt="a.avi 3\n")
    with pytest.raises(DataError, match="hug_test_split3.txt:1: expected 'VIDEO.avi 1' .or 2, or"):
        hmdb51_entries(str(splits), 3)
    with pytest.raises(DataError, match="expected brush_hair_test_split2.txt and its like, found"):
        hmdb51_entries(str(splits), 2)


def test_diving48(tmp_path):
    vocabulary = [["Back", "15som", "NoTwis", "PIKE"], ["Forward", "Dive", "NoTwis", "PIKE"]]
    train = [{"vid_name": "a_00001", "label": 1, "start_frame": 0, "end_frame": 9}]
    test = [{"vid_name": "b_00001", "label": 0, "start_frame": 0, "end_frame": 9}]
    texts = {"vocab": vocabulary, "V2_train": train, "V2_test": test}
    write(tmp_path, **{f"Diving48_{k}__json": json.dumps(v) for k, v in texts.items()})
    for video in train + test:
        write_video(tmp_path / f"{video['vid_name']}.mp4", 10)
    prepare("diving48", tmp_path, tmp_path, tmp_path / "lists")
    assert labels(tmp_path / "lists", "train", 2) == {"a_00001.mp4": 1}
    assert labels(tmp_path / "lists", "test", 2) == {"b_00001.mp4": 0}
    names = json.loads((tmp_path / "lists/classes.json").read_text())
    assert names == {"Back 15som NoTwis PIKE": 0, "Forward Dive NoTwis PIKE": 1}
    for bad in ({"vid_name": "a", "label": 2}, {"vid_name": "a", "label": -1}, {"label": 0}, "a"):
        write(tmp_path, Diving48_V2_test__json=json.dumps([bad]))
        with pytest.raises(DataError, match="test.json:1: expected a vid_name and a label of 0..1"):
            diving48_entries(str(tmp_path))
