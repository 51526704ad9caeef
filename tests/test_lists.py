"""Lists of one's own: separators that are found, numbers of frames, several labels a video."""

import re

import numpy as np
import pytest

from cmvl.data.decode import VideoInfo
from cmvl.data.lists import SEVERAL, find_separator, read_list
from cmvl.utils.errors import DataError


@pytest.mark.parametrize(
    "text, separator",
    [
        ("/v/a b.mp4 3\nc.mp4 4\n", " "),
        ("/v/a, b.mp4, 3\nc.mp4,4\n", ","),
        ("/v/a b.mp4\t3\n", "\t"),
        ("/v/a,b.mp4 3\n", " "),
        ("a.mp4;0\n\nb.mp4;1\n", ";"),
        ("a.mp4,1\nb.mp4 x\n", ","),
        ("a\n", " "),
    ],
)
def test_separator_is_found(text, separator, tmp_path):
    (tmp_path / "train.csv").write_text(text)
    assert find_separator(str(tmp_path / "train.csv")) == separator


def test_list_with_numbers_of_frames(tmp_path):
    (tmp_path / "train.csv").write_text("1234 48 3\nmy clip 2 17 0\n")
    records = read_list(str(tmp_path / "train.csv"), "auto", 4)
    assert [records.path(i) for i in (0, 1)] == ["1234", "my clip 2"]
    assert [records.frames(i) for i in (0, 1)] == [48, 17]
    (tmp_path / "train.csv").write_text("take 2 3\ntake.mp4 1\n")
    records = read_list(str(tmp_path / "train.csv"), "auto", 4)
    assert [records.path(i) for i in (0, 1)] == ["take 2", "take.mp4"] and records.frames(0) is None


def several(folder, text, classes=4, separator="auto"):
    (folder / "train.csv").write_text(text)
    return read_list(str(folder / "train.csv"), separator, classes, form=SEVERAL)


@pytest.mark.parametrize("separator", [" ", "\t", ";", "; "])
@pytest.mark.parametrize("quote", ["", '"'])
def test_list_of_several_labels(separator, quote, tmp_path):
    rows = [("my, clip.mp4", "3,0"), ("b.mp4", "2")]
    lines = [f"{path}{separator}{quote}{labels}{quote}\n" for path, labels in rows]
    records = several(tmp_path, "".join([*lines, f'c 1{separator}""\n']))
    assert [records.listed_path(i) for i in range(3)] == ["my, clip.mp4", "b.mp4", "c 1"]
    assert [records.labels_of(i) for i in range(3)] == [[0, 3], [2], []]
    assert records.label(0).tolist() == [1, 0, 0, 1] and records.frames(0) is None
    clips = records.clip_labels(0, np.array([[0, 6], [900, 999]]), VideoInfo(1000, 30.0, 1, 1))
    assert clips.tolist() == [[1, 0, 0, 1]] * 2


def test_list_of_several_labels_with_numbers_of_frames(tmp_path):
    records = several(tmp_path, "1234 48 3,1\nmy clip 17 0\n")
    assert [records.listed_path(i) for i in (0, 1)] == ["1234", "my clip"]
    assert [records.frames(i) for i in (0, 1)] == [48, 17] and records.labels_of(0) == [1, 3]


@pytest.mark.parametrize(
    "text, message",
    [
        ("a.mp4 1, 2\n", "train.csv:1: expected labels such as 3,17 after the last ' ', got '2'"),
        ("a.mp4 1,2\nb.mp4 x\n", "train.csv:2: expected labels such as 3,17"),
        ("a.mp4;\n", "train.csv:1: expected 'path label'"),
        ('a.mp4 ""\nb.mp4 ""\n', "train.csv: not one of 2 videos has a label"),
        ('a.mp4 ""\nb.mp4 1,7\n', "label 7 at train.csv:2, MODEL.NUM_CLASSES is 4"),
    ],
)
def test_lists_of_several_labels_that_cannot_be_used(text, message, tmp_path):
    with pytest.raises(DataError, match=re.escape(message)):
        several(tmp_path, text)
