"""Lists of `path label`: what is read, and what is said about a list that cannot be."""

import pytest

from cmvl.config import get_cfg
from cmvl.data import build_dataset
from cmvl.data.lists import read_list
from cmvl.utils.errors import DataError


def write(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def cfg_for(folder, **data):
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES = str(folder), 6
    for key, value in data.items():
        cfg.DATA[key] = value
    return cfg


def message_of(function, *args):
    with pytest.raises(DataError) as error:
        function(*args)
    return str(error.value)


def test_reads_a_list(tmp_path):
    path = write(
        tmp_path / "train.csv", "\ufeff/v/a.mp4 3\r\n\r\n/v/my video 2.mp4 0\r\n/v/c.mp4  5"
    )
    records = read_list(path, " ", 6)
    rows = [(records.path(i), records.label(i), records.where(i)) for i in range(len(records))]
    assert rows == [
        ("/v/a.mp4", 3, "train.csv:1"),
        ("/v/my video 2.mp4", 0, "train.csv:3"),
        ("/v/c.mp4", 5, "train.csv:4"),
    ]


@pytest.mark.parametrize("separator", [",", "\t", ", ", ";"])
def test_other_separators(separator, tmp_path):
    path = write(tmp_path / "train.csv", f"/v/a b.mp4{separator}3\n")
    records = read_list(path, separator, 6)
    assert (records.path(0), records.label(0)) == ("/v/a b.mp4", 3)


def test_relative_paths(tmp_path, monkeypatch):
    data, prefix, here = tmp_path / "data", tmp_path / "prefix", tmp_path / "here"
    for folder in (data, prefix, here):
        folder.mkdir()
    write(data / "val.csv", "a.mp4 0\nb.mp4 1\n/abs/c.mp4 2\n")
    monkeypatch.chdir(here)
    (here / "b.mp4").touch()
    records = build_dataset(cfg_for(data), "val").records
    assert records.path(0) == str(data / "a.mp4")
    assert records.path(1) == "b.mp4"
    assert records.path(2) == "/abs/c.mp4"
    records = build_dataset(cfg_for(data, PATH_PREFIX=str(prefix)), "val").records
    assert [records.path(i) for i in (0, 2)] == [str(prefix / "a.mp4"), "/abs/c.mp4"]


def test_splits_get_their_own_views(tmp_path):
    for split in ("train", "val", "test"):
        write(tmp_path / f"{split}.csv", "a.mp4 0\n")
    cfg = cfg_for(tmp_path)
    train, val, test = (build_dataset(cfg, split) for split in ("train", "val", "test"))
    assert train.transform.crop == 224
    assert (val.views, val.transform.crops, val.transform.crop) == (5, 1, 256)
    assert (test.views, test.transform.crops, test.transform.crop) == (10, 3, 256)


def test_data_folder_not_set():
    message = message_of(build_dataset, cfg_for(""), "train")
    assert message.startswith("DATA.PATH_TO_DATA_DIR is not set: expected a folder with train.csv")
    assert "make demo" in message


def test_data_folder_missing(tmp_path):
    message = message_of(build_dataset, cfg_for(tmp_path / "no"), "train")
    assert message.startswith(f"DATA.PATH_TO_DATA_DIR {tmp_path / 'no'}: no such folder")
    assert "train.csv, val.csv and test.csv" in message and "make demo" in message


def test_missing_list_names_the_others(tmp_path):
    write(tmp_path / "training.csv", "")
    message = message_of(build_dataset, cfg_for(tmp_path), "train")
    assert message == f"{tmp_path}/train.csv: no such list; the folder has training.csv."
    (tmp_path / "training.csv").unlink()
    assert "no csv file at all" in message_of(build_dataset, cfg_for(tmp_path), "train")


def test_missing_test_list_is_not_replaced(tmp_path):
    write(tmp_path / "val.csv", "a.mp4 0\n")
    message = message_of(build_dataset, cfg_for(tmp_path), "test")
    assert message.startswith(f"{tmp_path}/test.csv: no such list; the folder has val.csv.")
    assert "copy or link val.csv to test.csv" in message


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "train.csv: the list is empty; expected lines 'path label'"),
        ("\n \n", "train.csv: the list is empty; expected lines 'path label'"),
        ("a.mp4 1\nb.mp4\n", "train.csv:2: expected 'path label', got 'b.mp4'"),
        ("a.mp4,1\n", "If the list is separated otherwise, set DATA.PATH_LABEL_SEPARATOR"),
        (" 3\n", "train.csv:1: expected 'path label', got '3'"),
        (
            "a.mp4 1\nb.mp4 x\n",
            "train.csv:2: expected an integer label after the last ' ', got 'x'",
        ),
        ("path label\na.mp4 1\n", "0, 1, 2, ...; a line of headings has no place here"),
        ("a.mp4 1.0\n", "got '1.0'"),
        ("a.mp4 --1\n", "got '--1'"),
        (
            "a.mp4 0\n\nb.mp4 6\nc.mp4 9\n",
            "label 6 at train.csv:3, MODEL.NUM_CLASSES is 6 (labels are 0..5); 2 such labels",
        ),
        ("a.mp4 0\nb.mp4 9\n", "set MODEL.NUM_CLASSES to 10 or more"),
        ("a.mp4 1\nb.mp4 6\n", "The list counts from 1: subtract 1 from every label"),
        (f"a.mp4 {10**20}\n", f"label {10**20} at train.csv:1, MODEL.NUM_CLASSES is 6"),
        ("a.mp4 -1\n", "label -1 at train.csv:1, MODEL.NUM_CLASSES is 6 (labels are 0..5)"),
        (
            "label,youtube_id,time_start,time_end,split\nabseiling,xyz,1,11,train\n",
            "this is the official Kinetics annotation",
        ),
    ],
)
def test_list_that_cannot_be_used(text, message, tmp_path):
    path = write(tmp_path / "train.csv", text)
    got = message_of(read_list, path, " ", 6)
    assert message in got and path in got
