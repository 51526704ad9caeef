"""torchcodec as the decoder: the exact frame, or an error; never another frame."""

import sys
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from test_decode import KINDS, SHARED_FILES, assert_exact, full_decode

from cmvl.data.check import probe_whole
from cmvl.data.decode import open_video
from cmvl.data.frames import open_source
from cmvl.data.torchcodec_video import TorchcodecVideo, find_decoder, open_torchcodec
from cmvl.utils.errors import DataError, VideoError

from video_files import pictures, write_video

try:
    find_decoder()
    MISSING = ""
except DataError as error:  # not installed, or without FFmpeg
    MISSING = str(error)
needs_torchcodec = pytest.mark.skipif(bool(MISSING), reason=MISSING)
REFUSED = {
    "transport_stream": "does not state the time of every frame",
    "avi_b_frames": "does not state the time of every frame",
    "raw_h264": "does not state the time of every frame",
    "intra_refresh": "the picture is only built up from",
}


@needs_torchcodec
@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_exact_or_refused(kind, tmp_path):
    name, options = KINDS[kind]
    path = write_video(tmp_path / name, pictures(60), **options)
    if kind in REFUSED:
        with pytest.raises(VideoError, match=REFUSED[kind]), open_torchcodec(path):
            pass
    else:
        assert_exact(path, opened=open_torchcodec)


@needs_torchcodec
@pytest.mark.skipif(not SHARED_FILES, reason="no ../shared/videos")
@pytest.mark.parametrize("path", SHARED_FILES, ids=lambda p: p.name)
def test_shared_files_are_exact_or_refused(path):
    try:
        frames, whole, ends = full_decode(path)
    except (av.FFmpegError, IndexError):
        frames, whole, ends = [], [], False
    try:
        if ends and all(whole):
            assert_exact(path, draws=3, opened=open_torchcodec)
            return
        sound = (whole + [False]).index(False)
        with open_torchcodec(path) as video:
            for k, picture in video.frames(range(0, sound, 9)):
                assert np.array_equal(picture, frames[k]), f"frame {k}"
    except VideoError as error:
        assert path.name in str(error)


@needs_torchcodec
def test_named_as_backend(tmp_path):
    path = str(write_video(tmp_path / "a.mp4", 12))
    with open_source(path, backend="torchcodec") as video, open_source(path) as other:
        assert isinstance(video, TorchcodecVideo) and video.info == other.info
        with pytest.raises(VideoError, match=r"expected frame 12, found frames 0\.\.11"):
            next(video.frames([12]))
    stream = str(write_video(tmp_path / "a.ts", 12))
    assert probe_whole((stream, None), 4, 1, 30).kind == ""
    assert probe_whole((stream, None), 4, 1, 30, "torchcodec").kind == "broken"


def test_without_torchcodec(tmp_path, monkeypatch):
    find_decoder.cache_clear()
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    path = write_video(tmp_path / "a.mp4", 3)
    with pytest.raises(DataError, match="DATA.BACKEND torchcodec cannot be loaded"):
        with open_torchcodec(path):
            pass


@pytest.mark.parametrize(
    "height, late, message",
    [
        (48, 1, r"a.mp4: frame 3 is at 1536 x 1/15360 s, torchcodec gave one at 2048"),
        (32, 0, "expected pictures of 48 x 64, torchcodec made 32 x 64"),
    ],
)
def test_another_frame_than_asked_for(height, late, message, tmp_path):
    def decode(numbers):
        seconds = torch.tensor([(k + late) / 30 for k in numbers], dtype=torch.float64)
        data = torch.zeros(len(numbers), height, 64, 3, dtype=torch.uint8)
        return SimpleNamespace(data=data, pts_seconds=seconds)

    path = write_video(tmp_path / "a.mp4", 12)
    with open_video(path) as video:
        opened = TorchcodecVideo(video, lambda *_, **__: SimpleNamespace(get_frames_at=decode))
    with pytest.raises(VideoError, match=message):
        list(opened.frames([3]))
