"""Files that are there whole or not at all, and disks that take no more."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from trained_nets import TINY

from cmvl.config import load_cfg
from cmvl.data.prepare_ava import Cut, prepare_ava
from cmvl.model import build_model
from cmvl.report.export import clip_part, export
from cmvl.report.film import write_film
from cmvl.tasks import find_task
from cmvl.utils.errors import UserError, run_tool
from cmvl.utils.files import whole, write_text, writing

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


def test_a_link_is_written_through(tmp_path):
    """As /dev/stdout is one."""
    path, link = tmp_path / "a.txt", tmp_path / "link"
    link.symlink_to(path)
    write_text(link, "é")
    assert link.is_symlink() and path.read_text(encoding="utf-8") == "é"


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "said")
    assert os.read(reader, 9) == b"said" and os.listdir(tmp_path) == ["pipe"]
    os.close(reader)


def test_a_text_makes_its_folder(tmp_path):
    write_text(tmp_path / "new/a.txt", "caf\udce9", errors="replace")
    assert (tmp_path / "new/a.txt").read_text() == "caf?"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_no_more_is_told(code):
    why = os.strerror(code)
    told = rf"b.mp4: cannot be written \({why}\): make room or name another place, and start again"
    with pytest.raises(UserError, match=told), writing("b.mp4"):
        raise OSError(code, why)


def test_a_place_that_takes_no_file_is_told_by_the_files_name(tmp_path):
    path = tmp_path / "none" / "a.txt"
    with pytest.raises(UserError, match=r"none/a.txt: cannot be written \(No such file or dir"):
        with whole(path) as part:
            part.write_text("new")


def test_other_troubles_are_left_as_they_are():
    with pytest.raises(OSError, match="Input/output error") as caught, writing("b.mp4"):
        raise OSError(errno.EIO, "Input/output error")
    assert type(caught.value) is OSError


def test_a_film(tmp_path, small_files):
    with pytest.raises(UserError, match="b.mp4: cannot be written"):
        write_film(tmp_path / "b.mp4", pictures(90, 240, 320), 30)
    assert os.listdir(tmp_path) == []


def test_an_exported_net(tmp_path, small_files):
    cfg = load_cfg(None, TINY)
    part = clip_part(build_model(cfg, find_task(cfg.TASK).head).eval(), 2, 32)
    with pytest.raises(UserError, match="net.pt2: cannot be written .File too large.: make room"):
        export(part, tmp_path / "net.pt2", "pt2", {})
    assert os.listdir(tmp_path) == []


def test_a_tool_tells_of_it_even_where_no_file_is_named():
    def fail(code):
        raise OSError(code, os.strerror(code))

    with pytest.raises(SystemExit) as end:
        run_tool(lambda: fail(errno.ENOSPC))
    assert end.value.code == "error: a file could not be written: No space left on device"
    with pytest.raises(OSError, match="Input/output error"):
        run_tool(lambda: fail(errno.EIO))


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
    assert not any((tmp_path / "lists").iterdir()) and not list(tmp_path.rglob("*.part"))


def test_no_film_is_called_broken_for_a_full_disk(tmp_path, request):
    (tmp_path / "films").mkdir()
    write_video(tmp_path / "films/a.mp4", pictures(20, 480, 640), fps=10)
    request.getfixturevalue("small_files")
    told = f"^{tmp_path}/out/a: cannot be written .File too large.: make room"
    with pytest.raises(UserError, match=told):
        prepare_ava(str(tmp_path / "films"), str(tmp_path / "out"), Cut(0, 2, 10), 0)
    assert os.listdir(tmp_path / "out") == ["made_with.json"]
