"""Segments of long videos: their frames, and the lists and videos made of them."""

from pathlib import Path

import av
import numpy as np
import pytest
from list_tools import cfg_for, run_tool

from cmvl.data import build_dataset
from cmvl.data.decode import open_video
from cmvl.data.excerpt import frames_between
from cmvl.data.prepare_segments import seconds, segment_entries
from cmvl.data.reencode import Encoding, reencode
from cmvl.utils.errors import DataError, VideoError

from video_files import cut, write_frames, write_video

SHARED = Path(__file__).parent.parent.parent / "shared" / "videos"
FPS = 30
FRAMES = np.broadcast_to(np.arange(120, dtype=np.uint8)[:, None, None, None] * 2, (120, 48, 64, 3))
FILES = {  # with B-frames, where the codec has them
    "a.mp4": "libx264", "a.mkv": "libx264", "a.ts": "libx264", "a.avi": "libx264",
    "b.avi": "mpeg4", "a.mpg": "mpeg2video", "a.webm": "libvpx-vp9", "a.flv": "libx264",
}  # fmt: skip


def numbers(frames):
    """What frames of FRAMES they are."""
    return [round(frame.to_ndarray(format="rgb24").mean() / 2) for frame in frames]


@pytest.mark.parametrize("name", FILES)
def test_frames_of_a_span(name, tmp_path):
    options = {"g": "25", "crf": "4", "b": "4M"}
    film = str(write_video(tmp_path / name, FRAMES, FPS, FILES[name], options))
    for start, end in ((0, 0.5), (1, 2), (2.017, 2.5), (3.5, 9)):
        frames = list(frames_between(film, (start, end)))
        wanted = range(round(FPS * start), min(120, round(FPS * end)))
        np.testing.assert_allclose(numbers(frames), wanted, atol=1)
        assert len(frames) == len(wanted)
        times = [float(frame.pts * frame.time_base) for frame in frames]
        np.testing.assert_allclose(times, np.arange(len(wanted)) / FPS, atol=0.002)
    assert list(frames_between(film, (5, 6))) == []


@pytest.mark.skipif(not SHARED.exists(), reason="needs real videos")
@pytest.mark.parametrize(
    "name",
    [
        *("decord/flipping_a_pancake.mkv", "derived/onegop_bframes.mp4", "derived/vfr_h264.mp4"),
        *("derived/fragmented.mp4", "derived/mpeg2_mp2.mpg", "derived/mpegts.ts"),
        *("derived/mpeg4_mp3.avi", "derived/wmv2.wmv", "derived/vp8.webm", "derived/hevc.mp4"),
    ],
)
def test_frames_of_a_span_of_real_videos(name):
    """Those of a whole decode, bit for bit."""
    path = SHARED / name
    with open_video(path) as video:
        n, fps = video.info.frames, video.info.fps
        ticks = video.times and (np.array(video.times) - video.times[0]) * float(video.time_base)
        times = np.arange(n) / fps if ticks is None else ticks
        span = 0.4 * times[-1], 0.7 * times[-1]
        own = (times >= span[0] - 0.5 / fps) & (times < span[1] - 0.5 / fps)
        wanted = video.read(np.flatnonzero(own))
    found = [frame.to_ndarray(format="rgb24") for frame in frames_between(str(path), span)]
    assert len(found) > 10
    np.testing.assert_array_equal(np.stack(found), wanted)


def test_what_lies_before_is_not_decoded(tmp_path, monkeypatch):
    film = str(write_video(tmp_path / "a.mp4", FRAMES, FPS, options={"g": "10"}))
    taken = []
    monkeypatch.setattr("cmvl.data.excerpt._timed", _counting(taken))
    assert len(list(frames_between(film, (3.5, 3.6)))) == 3
    assert len(taken) < 60  # of 108


def _counting(taken):
    from cmvl.data.excerpt import _timed

    def timed(*args):
        for each in _timed(*args):
            taken.append(each)
            yield each

    return timed


def test_a_variable_rate(tmp_path):
    """By their times, not by their numbers."""
    pts = np.cumsum([1, 5, 1, 1] * 15) - 1
    film = write_video(tmp_path / "a.mp4", FRAMES[:60], FPS, pts=pts, options={"crf": "4"})
    wanted = [k for k, p in enumerate(pts) if 59 <= p - pts[0] < 89]
    np.testing.assert_allclose(numbers(frames_between(str(film), (2, 3))), wanted, atol=1)


def test_a_part_is_written_as_a_video_of_its_own(tmp_path):
    film = write_video(tmp_path / "a.mp4", FRAMES, FPS, options={"crf": "4"})
    target = tmp_path / "out/part.mp4"
    reencode(str(film), str(target), Encoding(32, crf=4), (1, 2))
    with open_video(target) as part:
        assert (part.info.frames, part.info.height, part.info.fps) == (30, 32, FPS)
        np.testing.assert_allclose(part.read(range(30)).mean((1, 2, 3)) / 2, range(30, 60), atol=1)
    with av.open(str(target)) as reader:
        assert float(reader.streams.video[0].start_time or 0) == 0
    reencode(str(film), str(tmp_path / "slow.mp4"), Encoding(32, fps=10), (1, 2))
    with open_video(tmp_path / "slow.mp4") as part:
        assert (part.info.frames, part.info.fps) == (10, 10)
    with pytest.raises(VideoError, match="a.mp4: expected frames from 4.5 to 5 s, found none"):
        reencode(str(film), str(tmp_path / "late.mp4"), Encoding(32), (4.5, 5))
    broken = cut(write_video(tmp_path / "b.mp4", 90))
    with pytest.raises(VideoError, match="b.mp4"):
        reencode(str(broken), str(tmp_path / "broken.mp4"), Encoding(32), (0, 1))
    assert sorted(p.name for p in tmp_path.glob("*.mp4")) == ["a.mp4", "b.mp4", "slow.mp4"]


def test_lists_of_segments(tmp_path):
    (tmp_path / "long/day 1").mkdir(parents=True)
    write_video(tmp_path / "long/day 1/P01.mp4", FRAMES, FPS)
    write_video(tmp_path / "long/P02.mkv", FRAMES, FPS)
    write_frames(tmp_path / "long/P03", 20)
    (tmp_path / "t.csv").write_text(
        "id,label,path,start,end\n1,open,day 1/P01.mp4,0:00:01,0:02.0\n2,shut,P02,0.5,1.25\n"
        '3,"open",P01,1,2\n4,shut,P03,0,1\n5,shut,P02,7,8\n6,shut,P09,0,1\n'
    )
    (tmp_path / "v.csv").write_text("path, start, end, label\nP02, 2, 3, open\n")
    words = ["segments", "--train", tmp_path / "t.csv", "--val", tmp_path / "v.csv", "--videos"]
    words += [tmp_path / "long", "--out", tmp_path / "lists"]
    refused = run_tool("prepare_data.py", *words)
    assert refused.returncode == 2 and "name a folder with --encode-to" in refused.stderr
    done = run_tool("prepare_data.py", *words, "--encode-to", tmp_path / "cut", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "train.csv: 3 of 6 videos\nval.csv: 1 of 1 videos\ntest.csv: 1 of 1" in done.stdout
    assert "t.csv:5 P03: unreadable: parts are cut out of video files, this is a" in done.stdout
    assert "t.csv:6 P02: unreadable: expected frames from 7 to 8 s, found none" in done.stdout
    assert "t.csv:7 P09: not on disk" in done.stdout
    train = build_dataset(cfg_for(tmp_path / "lists", "Kinetics", 2), "train")
    first = tmp_path / "cut/day 1/P01_000001000_000002000.mp4"
    paths = [train.records.path(i) for i in range(3)]
    assert paths == [str(first), str(tmp_path / "cut/P02_000000500_000001250.mp4"), str(first)]
    assert [int(train[i].label) for i in range(3)] == [0, 1, 0] and not train[1].failures
    before = first.stat().st_mtime_ns
    assert run_tool("prepare_data.py", *words, "--encode-to", tmp_path / "cut").returncode == 0
    assert first.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "text, told",
    [
        ("path,start,label\n", "t.csv:1: expected columns path,start,end,label, found no end in"),
        ("", "t.csv:1: expected columns path,start,end,label, found no path"),
        ("path,start,end,label\na,2,1,x\n", "t.csv:2: expected a path, a start before its end "),
        ("path,start,end,label\n\na,0,,x\n", "t.csv:3: expected .* got 'a,0,,x'"),
        ("path,start,end,label\na,0,1,\n", "t.csv:2: expected .* and a label, got 'a,0,1,'"),
        ("path,start,end,label\na,0,inf,x\n", "t.csv:2: expected"),
        ("path,start,end,label\na,0\n", "t.csv:2: expected .* got 'a,0,None,None'"),
    ],
)
def test_csv_files_that_cannot_be_used(text, told, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    (tmp_path / "v.csv").write_text("path,start,end,label\na,0,1,y\n")
    with pytest.raises(DataError, match=told):
        segment_entries(str(tmp_path / "t.csv"), str(tmp_path / "v.csv"))
    (tmp_path / "t.csv").write_text("path,start,end,label\na,0,1,x\n")
    with pytest.raises(DataError, match="v.csv:2: class 'y' is not in the training csv"):
        segment_entries(str(tmp_path / "t.csv"), str(tmp_path / "v.csv"))


def test_seconds():
    assert [seconds(t) for t in ("71.5", "1:11.5", "0:01:11.5", " 90 ")] == [71.5, 71.5, 71.5, 90]
