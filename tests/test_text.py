"""Annotation files that are no text in UTF-8, or no csv, are told by everything that reads one."""

import csv
import re

import pytest

from cmvl.data.ava_files import Frames, read_boxes, read_label_map
from cmvl.data.ava_frames import read_frame_lists
from cmvl.data.charades import read_charades, read_official_names
from cmvl.data.disk import read_class_file
from cmvl.data.kinetics import read_annotations
from cmvl.data.something_files import is_csv, read_csv_labels, read_json
from cmvl.data.text import open_text
from cmvl.utils.errors import DataError

READERS = {
    "Kinetics": read_annotations,
    "Charades": lambda path: read_charades(path, 3, ("",)),
    "Charades classes": lambda path: read_official_names(path.rpartition("/")[0], 3),
    "SSv1": is_csv,
    "SSv1 labels": read_csv_labels,
    "SSv2": lambda path: read_json(path, {}),
    "AVA boxes": lambda path: read_boxes(path, Frames()),
    "AVA labels": read_label_map,
    "AVA frames": lambda path: read_frame_lists([path]),
    "classes": read_class_file,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("encoding, byte", [("utf-16", "0xff"), ("latin-1", "0xe9")])
def test_other_encodings(reader, encoding, byte, tmp_path):
    path = tmp_path / "Charades_v1_classes.txt"
    path.write_text("préface, 1\n", encoding=encoding)
    told = f"{path}: this is no text in UTF-8 (byte {byte}); save it"
    with pytest.raises(DataError, match=re.escape(told)):
        READERS[reader](str(path))


def test_text_with_and_without_a_mark(tmp_path):
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "a").write_text("é\r\nb", encoding=encoding, newline="")
        for newline, expected in ((None, "é\nb"), ("", "é\r\nb")):
            with open_text(tmp_path / "a", newline) as file:
                assert file.read() == expected


def test_what_csv_cannot_read(tmp_path):
    (tmp_path / "a.csv").write_text("x" * (csv.field_size_limit() + 1))
    with pytest.raises(DataError, match="a.csv: this is no csv file .field larger than"):
        read_boxes(str(tmp_path / "a.csv"), Frames())
