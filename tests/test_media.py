"""What is found on disk, as people's disks are."""

import pytest

from cmvl.data.disk import find_media, walk_media
from cmvl.data.folder import class_folders
from cmvl.data.frames import read_numbering

from video_files import write_frames


@pytest.fixture
def disk(tmp_path):
    for name in ("b/2.MP4", "b/1.mkv", "a/1.mp4", "b/text.txt", "b/poster.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    write_frames(tmp_path / "c" / "frames", 3)
    return tmp_path


FOUND = ["a/1.mp4", "b/1.mkv", "b/2.MP4", "c/frames"]


def test_videos_and_frame_folders(disk):
    assert walk_media(str(disk)) == walk_media(f"{disk}/") == FOUND
    assert find_media(str(disk)) == {"1": "a/1.mp4", "2": "b/2.MP4", "frames": "c/frames"}


def test_from_the_working_folder(disk, monkeypatch):
    monkeypatch.chdir(disk)
    assert walk_media(".") == FOUND
    monkeypatch.chdir(disk / "b")
    assert walk_media("..") == FOUND


def test_what_is_hidden_is_left(disk):
    for name in ("a/._1.mp4", "b/._2.MP4", ".trash/1.mp4", "c/frames/._00001.jpg"):
        (disk / name).parent.mkdir(exist_ok=True)
        (disk / name).touch()
    assert walk_media(str(disk)) == FOUND and class_folders(str(disk)) == ["a", "b", "c"]
    assert read_numbering(str(disk / "c/frames")).count == 3


def test_links_are_followed_but_not_in_a_circle(disk, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "3.mp4").touch()
    (disk / "b/linked").symlink_to(other)
    (disk / "b/self").symlink_to(disk / "b")
    (other / "back").symlink_to(disk)
    (disk / "d").symlink_to(disk / "a")  # no circle
    assert walk_media(str(disk)) == [*FOUND[:3], "b/linked/3.mp4", "c/frames", "d/1.mp4"]
