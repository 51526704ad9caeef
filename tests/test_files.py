"""Files that are there whole or not at all, and disks that take no more."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cmvl.data.prepare_ava import Cut, prepare_ava
from cmvl.report.film import write_film
from cmvl.utils.errors import UserError
from cmvl.utils.files import whole, writing

from video_files import pictures, write_video

ROOT = Path(__file__).parent.parent


@pytest.fixture
def small_files():
    """A file grows to 20 kB and no further; what this process starts is held to that too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), whole(path) as part:
        part.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    with whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_no_more_is_told(code):
    why = os.strerror(code)
    told = rf"b.mp4: cannot be written \({why}\): make room or name another place, and start again"
    with pytest.raises(UserError, match=told), writing("b.mp4"):
        raise OSError(code, why)


def test_other_troubles_are_left_as_they_are():
    with pytest.raises(OSError, match="Input/output error") as caught, writing("b.mp4"):
        raise OSError(errno.EIO, "Input/output error")
    assert type(caught.value) is OSError


def test_a_film(tmp_path, small_files):
    with pytest.raises(UserError, match="b.mp4: cannot be written"):
        write_film(tmp_path / "b.mp4", pictures(90, 240, 320), 30)
    assert os.listdir(tmp_path) == []


def test_no_video_is_called_broken_for_a_full_disk(tmp_path, request):
    """It would be left out of the list."""
    for place in ("jump/a", "jump/b", "run/c"):
        (tmp_path / "videos" / place).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / f"videos/{place}.mp4", pictures(90, 240, 320), fps=30)
    tool = [sys.executable, str(ROOT / "tools/prepare_data.py"), "folder", "--workers", "1"]
    places = ["--videos", "videos", "--out", "lists", "--encode-to", "small"]
    request.getfixturevalue("small_files")
    done = subprocess.run([*tool, *places], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: /"), done.stderr
    assert "mp4: cannot be written (File too large): make room" in done.stderr
    assert not (tmp_path / "lists").exists() and not list(tmp_path.rglob("*.part"))


def test_no_film_is_called_broken_for_a_full_disk(tmp_path, request):
    (tmp_path / "films").mkdir()
    write_video(tmp_path / "films/a.mp4", pictures(20, 480, 640), fps=10)
    request.getfixturevalue("small_files")
    with pytest.raises(UserError, match="out/a: cannot be written .File too large.: make room"):
        prepare_ava(str(tmp_path / "films"), str(tmp_path / "out"), Cut(0, 2, 10), 0)
    assert os.listdir(tmp_path / "out") == []
