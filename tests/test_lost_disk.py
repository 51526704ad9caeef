"""A disk that goes away amid a run: its videos are not broken, none is replaced or left out."""

import errno
import os

import pytest

from cmvl.data import container
from cmvl.data.check import probe_whole
from cmvl.data.dataset import VideoDataset
from cmvl.data.decode import open_video
from cmvl.data.frames import open_source
from cmvl.data.records import Records
from cmvl.data.stream import open_stream
from cmvl.data.transforms import EvalTransform, TrainTransform
from cmvl.engine import claim
from cmvl.utils.errors import DataError, TrainingError, VideoError

from video_files import cut, write_frames, write_video

GONE = r"/disk: the folder cannot be read \(Transport endpoint is not connected\): bring back the"


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A folder that is gone, as when its server is, but for what lies below it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    scandir = os.scandir

    def lost(path):
        if os.fspath(path) == str(folder):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return scandir(path)

    monkeypatch.setattr(container.os, "scandir", lost)
    return folder


@pytest.fixture
def video(disk):
    """Cut off by the disk, not by whoever wrote it."""
    return cut(write_video(disk / "a.mp4", 30), 0.5)


@pytest.mark.parametrize("opened", [open_video, open_stream, open_source])
@pytest.mark.parametrize("name", ["a.mp4", "gone.mp4"])
def test_its_videos_are_not_told_as_broken(opened, name, video):
    with pytest.raises(DataError, match=GONE) as error, opened(str(video.with_name(name))):
        pass
    assert not isinstance(error.value, VideoError)
    assert f"{name} and what follows was not looked at" in str(error.value)


def test_nor_its_pictures(disk):
    write_frames(disk, 3)
    with pytest.raises(DataError, match=GONE) as error, open_source(str(disk)) as source:
        (disk / "00002.jpg").unlink()
        list(source.pictures([0, 1, 2]))
    assert not isinstance(error.value, VideoError)


def test_training_replaces_none_and_a_test_leaves_none_out(video, tmp_path):
    whole = write_video(tmp_path / "whole.mp4", 30)
    records = Records("list.csv", [str(video), str(whole)], [0, 1], [1, 2])
    with pytest.raises(DataError, match=GONE):
        VideoDataset(records, "train", TrainTransform((40, 48), 32), 4, 2)[0, 0]
    with pytest.raises(DataError, match=GONE):
        VideoDataset(records, "test", EvalTransform(32, 32, 1), 4, 2, skip_broken=True)[0]


def test_a_training_that_looks_for_its_evaluations_videos_blames_no_list(disk):
    records = Records("list.csv", [str(disk / "gone.mp4")], [0], [1])
    with pytest.raises(DataError, match=GONE):
        VideoDataset(records, "val", EvalTransform(32, 32, 1), 4, 2).check_there()


@pytest.mark.parametrize("name", ["a.mp4", "gone.mp4"])
def test_no_list_is_cleaned_of_them(name, video):
    with pytest.raises(DataError, match=GONE):
        probe_whole((str(video.with_name(name)), None), 8, 8, 30)


def test_a_folder_that_never_was_is_another_matter(tmp_path):
    with pytest.raises(VideoError, match="found nothing there"), open_video(tmp_path / "no" / "a"):
        pass


@pytest.mark.parametrize("may_enter", [True, False])
def test_a_folder_that_may_not_be_listed(may_enter, tmp_path, monkeypatch):
    """Its files may still be read; where it may not be entered either, none can."""

    def refused(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(container.os, "scandir", refused)
    monkeypatch.setattr(container.os, "access", lambda path, mode: may_enter)
    told = "found nothing there" if may_enter else "cannot be read .Permission denied."
    with pytest.raises(VideoError if may_enter else DataError, match=told):
        with open_video(tmp_path / "a.mp4"):
            pass


def test_the_claim_on_a_lost_folder_hides_no_trouble(tmp_path, monkeypatch):
    files = []
    monkeypatch.setattr(claim, "_lock", lambda file, _: files.append(file))
    with pytest.raises(TrainingError, match="the trouble"), claim.claimed(tmp_path):
        os.close(files[0].fileno())
        raise TrainingError("the trouble")
