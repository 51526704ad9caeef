"""Videos of any length: the same frames as by number, one pass, flat memory."""

import numpy as np
import pytest
import torch

from cmvl.data.dataset import cut_clips
from cmvl.data.decode import open_video
from cmvl.data.sampling import frame_indices
from cmvl.data.stream import open_stream, stream_clips
from cmvl.data.transforms import EvalTransform
from cmvl.utils.errors import VideoError

from video_files import pictures, write_frames, write_sound, write_video

KINDS = {
    "b_frames.mp4": {"options": {"bf": "3", "g": "12"}},
    "turned.mp4": {"rotation": 90},
    "no_times.avi": {"codec": "mpeg4"},
    "vp8.webm": {"codec": "libvpx"},
    "six.mkv": {"fps": 6},
}


@pytest.mark.parametrize("name", KINDS)
def test_same_frames_as_by_number(name, tmp_path):
    path = write_video(tmp_path / name, 40, **KINDS[name])
    with open_video(path) as video, open_stream(str(path)) as stream:
        assert stream.info == video.info
        wanted = [0, 3, 4, 17, 39]
        by_number = dict(video.frames(wanted))
        in_order = list(stream.frames(wanted))
        assert [k for k, _ in in_order] == wanted
        for k, picture in in_order:
            np.testing.assert_array_equal(picture, by_number[k])
        assert [k for k, _ in stream.frames([2])] == [2]  # a second pass


def test_folder_of_pictures(tmp_path):
    write_frames(tmp_path / "v", 5)
    with open_stream(str(tmp_path / "v"), 12.0) as stream:
        assert (stream.info.frames, stream.info.fps) == (5, 12.0)


def test_clips_are_those_of_a_data_set(tmp_path):
    path = write_video(tmp_path / "a.mp4", pictures(50))
    indices = frame_indices(np.array([0.0, 10.5, 12.0, 31.0]), 20, 6, 50)
    with open_video(path) as video, open_stream(str(path)) as stream:
        views = EvalTransform(32, 32, 3).views(4, video.info.height, video.info.width)
        want = cut_clips(video, indices, views).unflatten(0, (4, 3))
        clips = list(stream_clips(stream, indices, views[0]))
    assert [n for n, _ in clips] == [0, 1, 2, 3]
    assert torch.equal(torch.stack([clip for _, clip in clips]), want)


def test_only_clips_under_way_are_held(tmp_path):
    """Clips come as soon as their last frame has, not at the end of the video."""
    path, passed = write_video(tmp_path / "a.mp4", 60), []

    class Counting:
        def pictures(self, indices):
            for k, picture in stream.pictures(indices):
                passed.append(k)
                yield k, picture

    indices = np.arange(60).reshape(12, 5)
    with open_stream(str(path)) as stream:
        (view,) = EvalTransform(32, 32, 1).views(1, stream.info.height, stream.info.width)
        for n, _ in stream_clips(Counting(), indices, view):
            assert passed[-1] == indices[n, -1]
    assert len(passed) == 60


def test_broken_files(tmp_path):
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "empty.mp4").touch()
    for name, told in (
        ("sound.mp4", "expected a video stream, found streams of type audio"),
        ("empty.mp4", "found 0 bytes"),
        ("none.mp4", "nothing there"),
    ):
        with pytest.raises(VideoError, match=told), open_stream(str(tmp_path / name)):
            pass
    data = bytearray(write_video(tmp_path / "bad.mp4", 60).read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    (tmp_path / "bad.mp4").write_bytes(data)
    with pytest.raises(VideoError, match="bad.mp4: (frame .* is damaged|it cannot be decoded)"):
        with open_stream(str(tmp_path / "bad.mp4")) as stream:
            list(stream.frames(range(60)))


def test_a_wrong_count_repeats_the_last_frame_but_not_for_long(tmp_path):
    path = write_video(tmp_path / "a.mp4", 20)
    with open_stream(str(path)) as stream:
        stream.info = type(stream.info)(30, 30.0, 48, 64)
        found = dict(stream.frames([19, 29]))
        np.testing.assert_array_equal(found[19], found[29])
        stream.info = type(stream.info)(80, 30.0, 48, 64)
        with pytest.raises(VideoError, match="expected 80 frames, but 20 came"):
            list(stream.frames([79]))
