"""Crops cut from planes against crops of the exact RGB picture."""

import runpy
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cmvl.benchmarks.videos import scene
from cmvl.data import container
from cmvl.data.decode import open_video
from cmvl.data.planes import Planes, Scratch, resized, rgb_matrix
from cmvl.data.transforms import TrainTransform

from video_files import pictures, write_video


@pytest.fixture(scope="module")
def natural(tmp_path_factory):
    """A video of 3 frames of 340 x 256."""
    path = tmp_path_factory.mktemp("planes") / "a.mp4"
    return write_video(path, np.stack(list(scene(256, 340, 3, seed=0))))


def psnr(a, b):
    return 10 * np.log10(255**2 / ((a.astype(float) - b) ** 2).mean())


def both(path, window, size):
    """A window by way of the planes and by way of RGB."""
    with open_video(path) as video:
        _, planes = next(iter(video.pictures([1])))
        assert isinstance(planes, Planes)
        whole = video.read([1])[0]
        assert np.array_equal(planes.rgb(), whole)
        return planes.resized(window, size, Scratch()), resized(whole, window, size)


@pytest.mark.parametrize(
    "window, size",
    [
        ((0, 0, 256, 340), (244, 324)),
        ((10, 30, 200, 200), (224, 224)),
        ((56, 140, 180, 180), (224, 224)),
        ((0, 0, 256, 340), (193, 255)),  # tests have odd sizes: 455 from 1280x720
    ],
)
def test_error_of_the_planes(natural, window, size):
    fast, exact = both(natural, window, size)
    assert psnr(fast, exact) > 38 and abs(fast.mean() - exact.mean()) < 1.5


@pytest.mark.parametrize(
    "window, size",
    [((1, 0, 30, 30), (32, 32)), ((0, 0, 31, 30), (32, 32)), ((0, 0, 256, 340), (256, 340))],
)
def test_odd_windows_and_whole_frames_take_the_exact_way(natural, window, size):
    assert np.array_equal(*both(natural, window, size))


@pytest.mark.parametrize("colorspace", [1, 2, 5, 6])
@pytest.mark.parametrize("colour_range", [0, 1, 2])
def test_colours_of_every_standard(colorspace, colour_range):
    """One colour all over, against FFmpeg's conversion."""
    for rgb in ((200, 60, 30), (20, 90, 220), (128, 128, 128), (250, 250, 240)):
        source = av.VideoFrame.from_ndarray(np.full((32, 32, 3), rgb, np.uint8), format="rgb24")
        frame = source.reformat(format="yuv420p")
        frame.colorspace, frame.color_range = colorspace, colour_range
        assert Planes.can_hold(frame)
        expected = frame.reformat(format="rgb24").to_ndarray()
        for side in (15, 16):
            got = Planes(frame, None).resized((0, 0, 32, 32), (side, side), Scratch())
            assert abs(got.astype(int) - expected[:side, :side]).max() <= 4


def test_pyav_that_knows_one_standard_is_refused(monkeypatch):
    """Before 17 every conversion took BT.601 in 16..235, up to 18 off for other videos."""
    monkeypatch.setattr(av, "__version__", "16.1.0")
    with pytest.raises(ImportError, match="needs PyAV 17 or newer, found 16.1.0"):
        runpy.run_path(container.__file__)
    setup = (Path(__file__).parent.parent / "setup.py").read_text()
    assert '"av>=17"' in setup


def test_matrix_gives_white_and_black():
    for colorspace in (1, 6):
        matrix = rgb_matrix(colorspace, full=False)
        yuv = np.array([[[16, 128, 128], [235, 128, 128]]], np.uint8)
        assert cv2.transform(yuv, matrix)[0].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("pix_fmt, codec", [("yuv444p", "libx264"), ("yuv422p", "libx264")])
def test_other_formats_come_as_rgb(pix_fmt, codec, tmp_path):
    path = write_video(tmp_path / "a.mp4", pictures(3), codec=codec, pix_fmt=pix_fmt)
    with open_video(path) as video:
        _, picture = next(iter(video.pictures([1])))
        assert np.array_equal(picture, video.read([1])[0])


def test_turned_video_comes_as_rgb(tmp_path):
    path = write_video(tmp_path / "a.mp4", pictures(3), rotation=90)
    with open_video(path) as video:
        _, picture = next(iter(video.pictures([1])))
        assert np.array_equal(picture, video.read([1])[0]) and picture.shape == (64, 48, 3)


def test_windows_lie_on_the_grid_of_the_colour():
    rng = np.random.default_rng(0)
    for view in TrainTransform((256, 320), 224).views(200, 255, 341, rng):
        assert not any(number % 2 for number in view.window)
