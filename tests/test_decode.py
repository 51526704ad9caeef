"""Frame k is the k-th frame of a decode from start to end, in every kind of file; or an error."""

import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from cmvl.data import decode
from cmvl.data.decode import FALLBACK_FPS, open_video, probe
from cmvl.data.packets import is_droppable, runs, shown_times
from cmvl.data.stream import open_stream
from cmvl.utils.errors import VideoError

from video_files import cut, pictures, write_sound, write_video

SHARED = Path(__file__).parent.parent.parent / "shared" / "videos"
SHARED_FILES = sorted(
    path for path in SHARED.rglob("*.*") if path.suffix not in (".md", ".csv", ".pbtxt")
)
B_FRAMES = {"bf": "3", "b-adapt": "0"}
KINDS = {
    "b_frames": ("a.mp4", {"options": {"g": "250", **B_FRAMES}}),
    "short_gop": ("a.mp4", {"options": {"g": "7", **B_FRAMES}}),
    "open_gop": (
        "a.mp4",
        {"options": {"g": "10", "x264-params": "open-gop=1:scenecut=0:keyint_min=10", **B_FRAMES}},
    ),
    "intra_refresh": (
        "a.mkv",
        {"options": {"g": "12", "x264-params": "intra-refresh=1:bframes=0"}},
    ),
    "intra_only": ("a.mp4", {"options": {"g": "1"}}),
    "edit_list": ("a.mp4", {"options": {"g": "12", **B_FRAMES}, "pts": range(-9, 51)}),
    "late_start": ("a.mkv", {"options": {"g": "12", **B_FRAMES}, "pts": range(90, 150)}),
    "variable_rate": ("a.mp4", {"options": {"g": "12"}, "pts": np.cumsum([1, 2, 3, 1, 5] * 12)}),
    "matroska": ("a.mkv", {"options": {"g": "20", **B_FRAMES}}),
    "transport_stream": ("a.ts", {"options": {"g": "12", **B_FRAMES}}),
    "avi_b_frames": ("a.avi", {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}}),
    "mpeg2_open_gop": ("a.mkv", {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}}),
    "raw_h264": ("a.h264", {"options": {"g": "12", **B_FRAMES}}),
    "motion_jpeg": ("a.mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "rotated": ("a.mp4", {"rotation": 90}),
    "upside_down": ("a.mp4", {"rotation": 180}),
}


def full_decode(path):
    """RGB of every frame up to the first error, straight through PyAV, and whether it was whole."""
    frames, whole = [], []
    reformatter = VideoReformatter()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        try:
            for packet in container.demux(stream):
                if packet.size or packet.dts is None:
                    for frame in packet.decode():
                        rgb = reformatter.reformat(
                            frame, format="rgb24", interpolation="BILINEAR", threads=1
                        )
                        frames.append(np.rot90(rgb.to_ndarray(), frame.rotation // 90))
                        whole.append(not frame.is_corrupt)
        except av.FFmpegError:
            return frames, whole, False
    return frames, whole, True


def assert_exact(path, draws=6, opened=open_video):
    frames, whole, ends = full_decode(path)
    assert all(whole) and ends
    rng = np.random.default_rng(0)
    with opened(path) as video:
        assert video.info.frames == len(frames)
        assert (video.info.height, video.info.width) == frames[0].shape[:2]
        for draw in range(draws):
            asked = rng.integers(0, len(frames), size=(1, 4, 30)[draw % 3])
            got = list(video.frames(asked))
            assert sorted(k for k, _ in got) == sorted(set(asked.tolist()))
            for k, picture in got:
                assert np.array_equal(picture, frames[k]), f"frame {k}"
    # The first reading goes on where finding out the size has stopped.
    for asked in ([0], [1, 3], range(0, len(frames), 5)):
        asked = [k for k in asked if k < len(frames)]
        with opened(path) as video:
            for k, picture in video.frames(asked):
                assert np.array_equal(picture, frames[k]), f"frame {k}"
                asked.remove(k)
        assert not asked


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_exact(kind, tmp_path):
    name, options = KINDS[kind]
    path = write_video(tmp_path / name, pictures(60), **options)
    assert_exact(path)


@pytest.mark.parametrize("kind", ["b_frames", "late_start", "variable_rate", "edit_list"])
def test_seconds_are_found_by_the_times_of_frames(kind, tmp_path):
    name, options = KINDS[kind]
    path = write_video(tmp_path / name, pictures(60), **options)
    with av.open(str(path)) as container:
        times = np.array([f.time for f in container.decode(video=0)])
    times -= times[0]
    seconds = np.linspace(0, times[-1], 23)
    with open_video(path) as video:
        distance = np.abs(times[video.at(seconds)] - seconds)
        np.testing.assert_allclose(distance, np.abs(times[:, None] - seconds).min(0), atol=1e-3)
        assert video.at(np.array([-1.0]))[0] < 0
        assert video.at(np.array([times[-1] + 1]))[0] >= video.info.frames
    with open_stream(str(path)) as stream:  # which does not read all of a file for its times
        middle = (stream.info.frames - 1) / stream.info.fps / 2
        assert abs(stream.at(np.array([middle]))[0] - stream.info.frames / 2) <= 1


@pytest.mark.skipif(not SHARED_FILES, reason="no ../shared/videos")
@pytest.mark.parametrize("path", SHARED_FILES, ids=lambda p: p.name)
def test_shared_files_are_exact_or_say_why(path):
    """Sound files in full; damaged ones up to the damage, and an error from there on."""
    if path.name in ("jpeg_named.mp4", "truncated_frame.jpg"):
        with pytest.raises(VideoError, match=f"{path.name}: .* found a picture"):
            probe(path)
        return
    try:
        frames, whole, ends = full_decode(path)
    except (av.FFmpegError, IndexError):
        with pytest.raises(VideoError, match=path.name):
            probe(path)
        return
    if ends and all(whole):
        assert_exact(path, draws=3)
        return
    sound = (whole + [False]).index(False)
    with open_video(path) as video:
        for k in (*range(0, sound, 9), sound - 1):
            assert np.array_equal(video.read([k])[0], frames[k]), f"frame {k}"
        # The frames just after may still come: a full decode loses what waits to be reordered.
        for k in range(len(frames) + 16, video.info.frames, 40):
            with pytest.raises(VideoError, match=rf"{path.name}: frame {k} is (lost|damaged)"):
                video.read([k])
        for k in [k for k in range(len(frames)) if not whole[k]][:2]:
            with pytest.raises(VideoError, match=rf"{path.name}: frame {k} is damaged"):
                video.read([k])


def test_edit_list_frames_are_not_counted(tmp_path):
    path = write_video(tmp_path / "a.mp4", pictures(60), pts=range(-9, 51))
    assert probe(path).frames == 51


def test_info(tmp_path):
    path = write_video(tmp_path / "a.mp4", pictures(25, 48, 64), fps="24000/1001")
    assert probe(path) == decode.VideoInfo(25, pytest.approx(24000 / 1001), 48, 64)


def test_rotated_picture_is_upright(tmp_path):
    frames = np.zeros((4, 32, 64, 3), np.uint8)
    frames[:, :16, :32] = 255  # a bright corner, top left
    plain = write_video(tmp_path / "plain.mp4", frames)
    turned = write_video(tmp_path / "turned.mp4", frames, rotation=90)
    with open_video(plain) as a, open_video(turned) as b:
        assert (b.info.height, b.info.width) == (64, 32)
        assert np.array_equal(b.read([2])[0], np.rot90(a.read([2])[0]))
        assert b.read([2], size=(40, 20)).shape == (1, 40, 20, 3)


def test_read_with_size_and_nothing(tmp_path):
    path = write_video(tmp_path / "a.mp4", np.full((10, 48, 64, 3), (200, 90, 40), np.uint8))
    with open_video(path) as video:
        small, large = video.read([3, 1], size=(24, 32)), video.read([1, 3])
        assert small.shape == (2, 24, 32, 3) and small.dtype == np.uint8
        assert abs(large[:, ::2, ::2].astype(int) - small).max() <= 2
        assert video.read([]).shape == (0, 48, 64, 3)


def test_order_and_repeats_do_not_matter(tmp_path):
    path = write_video(tmp_path / "a.mp4", 20)
    with open_video(path) as video:
        assert np.array_equal(video.read([7, 2, 7]), video.read([2, 7]))


def test_only_the_needed_packets_are_decoded(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", pictures(100), options={"g": "10", "bf": "0"})
    with open_video(path) as video:
        sent = []
        real = video._decode

        def spy(packets, begun):
            packets = list(packets)
            sent.extend(packets)
            return real(packets, begun)

        monkeypatch.setattr(video, "_decode", spy)
        video.read([34, 72])
        assert len(sent) == 5 + 3


def test_the_first_frame_is_decoded_once(tmp_path):
    path = write_video(tmp_path / "a.mp4", pictures(100), options={"g": "100", "bf": "0"})
    with open_video(path) as video:
        assert video._begun[0] == 1 and len(video._begun[1]) == 1
        codec, sent = video._codec, []

        class Counted:
            def decode(self, packet):
                sent.append(packet)
                return codec.decode(packet)

            def flush_buffers(self):
                codec.flush_buffers()

        video._codec = Counted()
        video.read([4])
        assert len(sent) == 4 + 1  # packets 1..4, and the end
        video.read([4])
        assert len(sent) == 5 + 5 + 1


def test_frames_nobody_refers_to_are_droppable(tmp_path):
    path = write_video(tmp_path / "a.mp4", pictures(40), options=B_FRAMES)
    with open_video(path) as video:
        dropped = sum(is_droppable(p, video.length_size) for p in video.packets)
        assert video.length_size == 4 and 5 <= dropped <= 30


def packet(pts, key=False, discard=False):
    return SimpleNamespace(pts=pts, is_keyframe=key, is_discard=discard)


def test_runs():
    # Decoding order; 3 is shown before its key frame 4.
    packets = [packet(0, True), packet(2), packet(1), packet(4, True), packet(3), packet(5)]
    assert runs(packets, {1}) == [(0, 3)]
    assert runs(packets, {0, 5}) == [(0, 1), (3, 6)]
    assert runs(packets, {3}) == [(0, 5)]
    assert runs(packets, {0, 3, 5}) == [(0, 6)]
    assert runs(packets, {4, 3}) == [(0, 5)]


def test_times_are_not_trusted_where_they_may_be_guessed():
    packets = [packet(5, True), packet(9), packet(7), packet(1, discard=True)]
    assert shown_times(packets, "mov,mp4,m4a", "h264") == [5, 7, 9]
    assert shown_times(packets, "avi", "h264") is None
    assert shown_times(packets, "matroska,webm", "vp8") is None
    assert shown_times([packet(5), packet(5)], "mov,mp4", "h264") is None
    assert shown_times([packet(5), packet(None)], "mov,mp4", "h264") is None


def test_key_frames_that_cannot_be_entered(tmp_path, monkeypatch):
    """If a run does not give a frame, the stream is decoded from its start."""
    path = write_video(tmp_path / "a.mp4", pictures(30), options={"g": "10", "bf": "0"})
    frames, _, _ = full_decode(path)
    monkeypatch.setattr(decode, "runs", lambda *_: [(15, 20)])
    with open_video(path) as video:
        assert np.array_equal(video.read([17, 25]), [frames[17], frames[25]])


def nothing(path):
    return path


def empty(path):
    path.touch()
    return path


def text(path):
    path.write_text("not a video")
    return path


def folder(path):
    path.mkdir()
    return path


def still(path, form):
    _, content = cv2.imencode(form, np.zeros((48, 64, 3), np.uint8))
    path.write_bytes(content.tobytes())
    return path


def cut_before_index(path):
    return cut(write_video(path, 30), 0.5)


def write_cover(path):
    return write_sound(path, cover=True)


@pytest.mark.parametrize(
    "make, message",
    [
        (nothing, "expected a video file, found nothing there"),
        (empty, "expected a video file, found 0 bytes"),
        (folder, "expected a video file, found a folder"),
        (partial(still, form=".png"), "expected a video file, found a picture"),
        (partial(still, form=".jpg"), "expected a video file, found a picture"),
        (text, "it is no video file, or one cut off before its index"),
        (cut_before_index, "it is no video file, or one cut off before its index"),
        (write_sound, "expected a video stream, found streams of type audio"),
        (write_cover, "expected a video stream, found streams of type audio, video"),
    ],
)
def test_what_is_no_video(make, message, tmp_path):
    path = make(tmp_path / "a.mp4")
    with pytest.raises(VideoError) as error:
        probe(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_file_cut_off_after_its_index(tmp_path):
    path = write_video(tmp_path / "a.mkv", pictures(60), options={"g": "10"})
    cut(path, 0.6)
    with open_video(path) as video:
        assert 10 < video.info.frames < 60
        video.read([0, 9])


def test_frame_that_is_not_there(tmp_path):
    path = write_video(tmp_path / "a.mp4", 10)
    with open_video(path) as video:
        for k in (10, -1):
            with pytest.raises(VideoError, match=rf"expected frame {k}, found frames 0\.\.9"):
                video.read([0, k])


def test_count_that_promises_too_much(tmp_path):
    path = write_video(tmp_path / "a.mp4", 10)
    with open_video(path) as video:
        video.times.append(10**9)
        video.info = decode.VideoInfo(11, 30.0, 48, 64)
        message = "expected 11 frames, but frame 10 did not come out of the decoder"
        with pytest.raises(VideoError, match=message):
            video.read([3, 10])


def test_rate_of_a_file_without_rate(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 3)
    with open_video(path) as video:
        silent = SimpleNamespace(average_rate=None, guessed_rate=None)
        assert video._inspect(silent).fps == FALLBACK_FPS


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_files_are_closed(tmp_path):
    good = write_video(tmp_path / "a.mp4", 5)
    sound = write_sound(tmp_path / "b.mp4")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        probe(good)
        with pytest.raises(VideoError):
            probe(sound)
    assert len(os.listdir("/proc/self/fd")) == before
