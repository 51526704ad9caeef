"""AVA's reader: windows, boxes that follow the pixels, what mistakes are told."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ava_data import COLOURS, FPS, settings, write_ava

from cmvl.config import load_cfg
from cmvl.data import build_dataset, build_loader
from cmvl.data.ava_keyframes import KeyFrames
from cmvl.data.sampling import keyframe_indices
from cmvl.data.transforms import View
from cmvl.utils.errors import ConfigError, DataError, UserError, VideoError

from video_files import write_video

SAMPLING = Path(__file__).parent / "data" / "sampling"
SMALL = (
    "DATA.NUM_FRAMES 4 DATA.SAMPLING_RATE 1 DATA.TRAIN_CROP_SIZE 40 DATA.TEST_CROP_SIZE 32 "
    "DATA.TRAIN_JITTER_SCALES [48,64] VIDEO.NUM_CLIPS 3 TRAIN.BATCH_SIZE 6 "
    "DATA_LOADER.NUM_WORKERS 0"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ava")
    write_ava(folder)
    return folder


def load(folder, *opts):
    return load_cfg(None, [*settings(folder), *SMALL, *map(str, opts)])


def test_frames_are_pyslowfasts():
    with (SAMPLING / "ava_frames.csv").open() as file:
        for row in csv.DictReader(file):
            centre, T = np.array([int(row["center_frame"])]), int(row["T"])
            got = keyframe_indices(centre, T, float(row["tau"]), int(row["num_frames"]))[0]
            assert got.tolist() == [int(k) for k in row["frame_indices"].split()]
            assert (int(row["sec"]) - 900) * 30 == int(row["center_frame"])


def coloured(frame, colour):
    """The box of the pixels near a colour, x1, y1, x2, y2; None if there are few."""
    near = (np.abs(frame.astype(int) - colour).max(axis=-1) < 45).nonzero()
    if len(near[0]) < 20:
        return None
    (y1, x1), (y2, x2) = ([f(v) for v in near] for f in (np.min, np.max))
    return np.array([x1, y1, x2 + 1, y2 + 1])


def check_boxes(clips, boxes, labels):
    """Every box lies on figures of its action's colour; its clip's middle frame is its second."""
    checked = 0
    for (n, *box), hot in zip(boxes.tolist(), labels, strict=True):
        frame = clips[int(n), :, clips.shape[2] // 2].permute(1, 2, 0).numpy()
        x1, y1, x2, y2 = box
        x1, y1, x2, y2 = round(x1) + 1, round(y1) + 1, round(x2) - 1, round(y2) - 1
        inside = frame[y1 : max(y1, y2), x1 : max(x1, x2)]
        if inside.size:
            colour = COLOURS[hot.argmax()]
            assert hot.sum() == 1
            assert np.abs(np.median(inside, axis=(0, 1)) - colour).max() < 25
            same = sum(labels[boxes[:, 0] == n].argmax(1) == hot.argmax())
            seen = coloured(frame, colour)
            if same == 1 and seen is not None:
                limits = [clips.shape[-1] - 1, clips.shape[-2] - 1] * 2
                assert np.abs(np.minimum(seen, limits) - box).max() <= 1.6
                checked += 1
    return checked


def test_boxes_follow_the_pixels(folder, monkeypatch):
    train, checked = build_dataset(load(folder), "train"), 0
    assert len(train) == 40
    flips, views = set(), train.transform.views

    def noted(*args):
        found = views(*args)
        flips.update(view.flip for view in found)
        return found

    monkeypatch.setattr(train.transform, "views", noted)
    for epoch in range(4):
        for index in range(0, 40, 7):
            item = train[epoch, index]
            assert item.clips.shape == (3, 3, 4, 40, 40)
            checked += check_boxes(item.clips, item.boxes, item.label)
    assert checked > 30 and flips == {False, True}
    test, checked = build_dataset(load(folder), "test"), 0
    for index in range(0, len(test), 3):
        item = test[index]
        assert item.clips.shape == (1, 3, 4, 32, 42)  # the whole picture
        second, boxes = item.keyframe.second, item.keyframe.boxes
        pixels = item.boxes[:, 1:].numpy() / [42, 32, 42, 32]
        assert len(boxes) == 2 and np.abs(boxes.numpy() - pixels).max() < 0.03
        assert second == index % 10
    assert item.keyframe.video == "v1"
    assert test.records.path(0) == str(folder / "frames/v0")
    assert test.records.where(13) == "v1 at second 3"


def test_a_box_of_which_a_crop_left_nothing_is_no_example(folder):
    """It stays in tests, where every detection counts."""
    corner = View((0, 0, 48, 64), (48, 64), crop=2, offsets=((0, 0),))
    for split, left in (("train", 0), ("test", 2)):
        boxes, labels = build_dataset(load(folder), split)._boxes(0, 4, 0, corner, (48, 64))
        assert len(boxes) == len(labels) == left


def test_window_is_clamped_to_the_annotated_range(folder):
    dataset = build_dataset(load(folder, "VIDEO.NUM_CLIPS", 5, "VIDEO.WINDOW", 2), "train")
    window = lambda t, low=0, high=9: dataset.window.around(  # noqa: E731
        np.array([t]), np.array([low]), np.array([high])
    )[0].tolist()
    assert window(4) == [0, 2, 4, 6, 8]
    assert window(1) == [0, 0, 1, 3, 5]
    assert window(9) == [5, 7, 9, 9, 9]
    fixed = build_dataset(load(folder, "AVA.KEYFRAME_RANGE", "[2,6]"), "train")
    assert len(fixed) == 4 * 5
    assert set(fixed.records.second.tolist()) == set(range(2, 7))


def test_validation_takes_every_fourth_second_and_what_its_windows_hold(folder):
    val = build_dataset(load(folder), "val")
    seconds = val.records.second[val.records.video == val.records.video[0]].tolist()
    assert seconds == [0, 1, 3, 4, 5, 7, 8, 9]
    shown = [len(val[i].boxes) for i in range(8)]
    assert shown == [2, 0, 0, 2, 0, 0, 2, 0] == [len(val[i].keyframe.boxes) for i in range(8)]
    alone = build_dataset(load(folder, "VIDEO.NUM_CLIPS", 1), "val")
    assert alone.records.second.tolist() == [0, 4, 8, 0, 4, 8]
    full = build_dataset(load(folder, "AVA.FULL_TEST_ON_VAL", True), "val")
    assert len(full) == 20


def test_processes_have_whole_videos(folder):
    """Three of them share two: each key frame once, no video in two places."""
    test = build_dataset(load(folder), "test")
    shares = [test.shard(rank, 3).tolist() for rank in range(3)]
    assert sorted(sum(shares, [])) == list(range(20)) and shares[2] == []
    assert [{test.records.where(i)[:2] for i in share} for share in shares[:2]] == [{"v0"}, {"v1"}]


def test_batches_number_their_clips(folder):
    batch = next(iter(build_loader(load(folder, "TRAIN.BATCH_SIZE", 9), "train")))
    assert batch.clips.shape[:2] == (3, 3)
    clips = set(batch.boxes[:, 0].int().tolist())  # a crop may hold no box
    assert clips <= set(range(9)) and {n // 3 for n in clips} == {0, 1, 2}
    assert batch.labels.shape == (len(batch.boxes), 3)
    check_boxes(batch.clips.flatten(0, 1), batch.boxes, batch.labels)


def test_several_actions_and_detected_boxes_of_training(folder, tmp_path):
    notes = tmp_path / "annotations"
    notes.mkdir()
    for name in ("labels.pbtxt", "excluded.csv"):
        (notes / name).write_text((folder / "annotations" / name).read_text())
    (notes / "train.csv").write_text(
        "t0,0001,0.1,0.1,0.5,0.5,1,0\nt0,1,0.100,0.10,0.5,0.5,3,0\nt0,0002,0.2,0.2,0.5,0.5,2,1\n"
    )
    (notes / "found.csv").write_text(
        "t0,1,0.6,0.6,0.9,0.9,,0.93\nt0,0003,0.1,0.1,0.3,0.3,2,0.85\nt0,1,0.5,0.5,0.6,0.6,,0.7\n"
    )
    opts = ["AVA.FRAME_DIR", folder / "frames", "AVA.TRAIN_PREDICT_BOX_LISTS", "['found.csv']"]
    table = build_dataset(load(tmp_path, *opts), "train").table
    assert table.boxes(0, 1).tolist() == [[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]]
    assert table.labels(0, 1).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert table.labels(0, 3).tolist() == [[0, 1, 0]]
    assert table.boxes(0, 4).shape == (0, 4) and table.labels(0, 4).shape == (0, 3)
    assert table.keyframes()[1].tolist() == [1, 2, 3]


def test_frame_lists(folder, tmp_path, caplog):
    lines = ["original_vido_id video_id frame_id path labels"]
    for name in ("t0", "t2"):
        lines += [f'{name} 0 {k} {name}/{name}_{k + 1:06d}.png ""' for k in range(10 * FPS)]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    opts = ["AVA.FRAME_LIST_DIR", tmp_path, "AVA.TRAIN_LISTS", "['train.csv']"]
    with caplog.at_level("WARNING", "cmvl"):
        dataset = build_dataset(load(folder, *opts), "train")
    assert "2 of 4 videos of the box files are in no frame list and left out: t1, t3" in caplog.text
    assert len(dataset) == 20 and len(dataset[0].boxes)
    (tmp_path / "train.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DataError, match="list says 79 frames, 80 on disk"):
        build_dataset(load(folder, *opts, "DATA.MAX_RESAMPLES", 0), "train")[19]
    (tmp_path / "train.csv").write_text("t0 0 0 t0/a.jpg\n")
    with pytest.raises(DataError, match="train.csv:1: expected the header"):
        build_dataset(load(folder, *opts), "train")


@pytest.mark.parametrize(
    "opts,error,told",
    [
        (["AUG.RANDAUGMENT_OPS", 2], ConfigError, "move the pixels away"),
        (["VIDEO.NUM_CLIPS", 4], ConfigError, "their number is odd"),
        (["AVA.TRAIN_GT_BOX_LISTS", "['gone.csv']"], DataError, "gone.csv: cannot be read"),
        (["AVA.FRAME_DIR", "nowhere"], DataError, "nowhere: .* 4 are not there: t0, t1, t2, t3"),
        (
            ["AVA.KEYFRAME_RANGE", "[902,1798]"],
            DataError,
            "no key frame with boxes is left of the 40",
        ),
        (["MODEL.NUM_CLASSES", 2], DataError, r"train.csv:\d+: action id 3, but ids are 1..2"),
        (["AVA.TRAIN_LISTS", "['train.csv']"], DataError, "may be empty"),
        (["AVA.TRAIN_GT_BOX_LISTS", "[]"], ConfigError, "no file of boxes: set AVA.TRAIN_GT_BOX_L"),
    ],
)
def test_mistakes_are_told(folder, opts, error, told):
    with pytest.raises(error, match=told):
        build_dataset(load(folder, *opts), "train")


def test_a_detector_that_found_nobody(tmp_path):
    write_ava(tmp_path, train=1, val=1, seconds=2)
    (tmp_path / "annotations/persons.csv").write_text("")
    with pytest.raises(DataError, match="no key frame with boxes is left of the 0 in the box file"):
        build_dataset(load(tmp_path), "test")


def test_seconds_without_frames_are_told(folder):
    test = build_dataset(load(folder, "AVA.START_SECOND", 3), "test")
    with pytest.raises(VideoError, match="v0 at second 0: .*second 0 is frame -24, found"):
        test[0]
    skipped = build_dataset(load(folder, "AVA.START_SECOND", 3, "TEST.SKIP_BROKEN", True), "test")
    assert skipped[0].clips is None and len(skipped[0].failures) == 1
    assert skipped[5].clips is not None


def test_ground_truth_boxes_where_no_detector_gave_any(folder, caplog):
    with caplog.at_level("INFO", "cmvl"):
        test = build_dataset(load(folder, "AVA.TEST_PREDICT_BOX_LISTS", "[]"), "test")
    assert "testing in the boxes of the annotation" in caplog.text
    assert len(test[0].boxes) == 2


def encode(folder, out, kept):
    """The films of `folder` as video files of these frames, each at its time."""
    for name in ("v0", "v1"):
        files = [folder / "frames" / name / f"{name}_{k + 1:06d}.png" for k in kept]
        frames = np.stack([cv2.imread(str(file))[..., ::-1] for file in files])
        options = {"crf": "1", "preset": "fast"}
        write_video(out / f"{name}.mp4", frames, FPS, options=options, pts=kept, pix_fmt="yuv444p")


def test_seconds_of_a_variable_rate(folder, tmp_path):
    """After 4 seconds a film has half as many frames."""
    encode(folder, tmp_path, [k for k in range(10 * FPS) if k < 4 * FPS or k % 2 == 0])
    one = "DATA.NUM_FRAMES", 1  # the key frame alone
    pictures = build_dataset(load(folder, *one), "test")
    encoded = build_dataset(load(folder, *one, "AVA.FRAME_DIR", tmp_path), "test")
    for index in range(14):
        a, b = pictures[index], encoded[index]
        torch.testing.assert_close(a.boxes, b.boxes)
        assert (a.clips.int() - b.clips.int()).abs().float().mean() < 3


def test_encoded_video(folder, tmp_path):
    """The same from a video file, left open between seconds."""
    encode(folder, tmp_path, range(10 * FPS))
    pictures = build_dataset(load(folder), "test")
    encoded = build_dataset(load(folder, "AVA.FRAME_DIR", tmp_path), "test")
    for index in (0, 5, 13):
        a, b = pictures[index], encoded[index]
        torch.testing.assert_close(a.boxes, b.boxes)
        assert (a.clips.int() - b.clips.int()).abs().float().mean() < 6
    assert issubclass(VideoError, UserError)


def test_workers_give_the_same_batches(folder):
    for split in ("train", "test"):
        alone = build_loader(load(folder), split)
        shared = build_loader(load(folder, "DATA_LOADER.NUM_WORKERS", 2), split)
        for a, b in zip(alone, shared, strict=True):
            assert torch.equal(a.clips, b.clips) and torch.equal(a.boxes, b.boxes)
            assert torch.equal(a.labels, b.labels)
            seconds = [[(k.video, k.second) for k in batch.keyframes] for batch in (a, b)]
            assert seconds[0] == seconds[1]


def test_colours_may_change_boxes_do_not(folder):
    plain = build_dataset(load(folder), "train")[3]
    jittered = build_dataset(load(folder, "AUG.COLOR_JITTER", 0.4), "train")[3]
    assert torch.equal(plain.boxes, jittered.boxes) and torch.equal(plain.label, jittered.label)
    assert not torch.equal(plain.clips, jittered.clips)


def test_other_key_frames_have_another_fingerprint():
    """By which processes see that their lists differ."""

    def fingerprint(name, *seconds):
        video, second = np.zeros(len(seconds), np.int64), np.array(seconds)
        return KeyFrames("", [name], None, video, second).fingerprint

    assert fingerprint("a", 1, 2) == fingerprint("a", 1, 2)
    assert len({fingerprint("a", 1, 2), fingerprint("b", 1, 2), fingerprint("a", 2, 1)}) == 3
