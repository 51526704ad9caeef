"""Frame folders behind the same seam as video files."""

import numpy as np
import pytest

from cmvl.data.dataset import cut_clips
from cmvl.data.frames import open_source, read_numbering
from cmvl.data.transforms import EvalTransform
from cmvl.utils.errors import VideoError

from video_files import cut, pictures, write_frames, write_video


@pytest.mark.parametrize(
    "name, first", [("%05d.jpg", 1), ("ABC12-%06d.jpg", 1), ("img_%d.png", 0), ("v1_%06d.jpg", 27)]
)
def test_frames_are_the_pictures_by_number(name, first, tmp_path):
    frames = pictures(12)
    folder = write_frames(tmp_path / "ABC12", frames, name, first)
    with open_source(str(folder), frames=12, fps=24) as video:
        assert (video.info.frames, video.info.fps) == (12, 24)
        assert (video.info.height, video.info.width) == (48, 64)
        got = dict(video.frames([11, 0, 10, 0]))
    assert sorted(got) == [0, 10, 11]
    for k, picture in got.items():
        assert abs(picture.astype(int) - frames[k]).mean() < (0.01 if "png" in name else 12)


def test_clips_of_folder_and_file_agree(tmp_path):
    frames = np.repeat(pictures(10)[..., :1], 3, axis=-1)  # grey: colour has half the resolution
    folder = write_frames(tmp_path / "a", frames, "%05d.png")
    file = write_video(tmp_path / "a.mp4", frames, options={"crf": "1"})
    clips = []
    for path in (folder, file):
        with open_source(str(path)) as video:
            views = EvalTransform(32, 32, 3).views(2, 48, 64)
            clips.append(cut_clips(video, np.array([[0, 4], [5, 9]]), views).float())
    assert clips[0].shape == (6, 3, 2, 32, 32)
    assert (clips[0] - clips[1]).abs().mean() < 2


def test_what_a_list_says_is_held_against_the_disk(tmp_path):
    folder = write_frames(tmp_path / "ssv1" / "1234", 45)
    with pytest.raises(VideoError) as error, open_source(str(folder), frames=48):
        pass
    assert str(error.value) == f"{folder}: list says 48 frames, 45 on disk"
    (folder / "00017.jpg").unlink()
    with pytest.raises(VideoError, match="1234: list says 45 frames, 44 on disk; 00017.jpg is mis"):
        read_numbering(str(folder), 45)
    with pytest.raises(VideoError, match=r"expected frames 1\.\.45, 44 on disk; 00017.jpg is mis"):
        read_numbering(str(folder))


def test_folder_without_pictures(tmp_path):
    (tmp_path / "cover.jpg").touch()
    with pytest.raises(VideoError, match="expected pictures with a number .* found cover.jpg"):
        read_numbering(str(tmp_path))
    with pytest.raises(VideoError, match="expected a folder of pictures"):
        read_numbering(str(tmp_path / "none"))
    write_frames(tmp_path / "a", 3)
    (tmp_path / "a" / "cover.jpg").touch()
    with pytest.raises(VideoError, match="expected pictures like 00001.jpg, found cover.jpg too"):
        read_numbering(str(tmp_path / "a"))


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_damaged_picture(share, tmp_path):
    """OpenCV alone would fill the rest of the picture with grey."""
    folder = write_frames(tmp_path / "a", 5)
    cut(folder / "00003.jpg", share)
    with open_source(str(folder)) as video:
        dict(video.frames([0, 1, 3, 4]))
        with pytest.raises(VideoError, match="00003.jpg: expected a whole picture"):
            dict(video.frames([2]))
        with pytest.raises(VideoError, match=r"expected frame 5, found frames 0\.\.4"):
            dict(video.frames([5]))


def test_pictures_of_another_size(tmp_path):
    folder = write_frames(tmp_path / "a", 3)
    write_frames(folder, pictures(1, 24, 32), first=4)
    with (
        open_source(str(folder)) as video,
        pytest.raises(VideoError, match="00004.jpg: expected 48"),
    ):
        dict(video.frames([3]))
