"""Clips of a video, chance as a function of (seed, epoch, index), and broken videos."""

import pickle

import numpy as np
import pytest
import torch

from cmvl.config import get_cfg
from cmvl.data import build_loader, dataset
from cmvl.data.dataset import VideoDataset
from cmvl.data.decode import Video, open_video
from cmvl.data.frames import open_source
from cmvl.data.records import Records
from cmvl.data.transforms import EvalTransform, TrainTransform
from cmvl.structures import collate
from cmvl.utils.errors import DataError, VideoError

from video_files import pictures, write_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Paths of six sound videos of 40 frames."""
    folder = tmp_path_factory.mktemp("videos")
    return [str(write_video(folder / f"{i}.mp4", pictures(40, seed=i))) for i in range(6)]


def records_of(paths, first_line=1):
    lines = range(first_line, first_line + len(paths))
    return Records("/lists/train.csv", paths, list(range(len(paths))), lines)


def train_set(paths, **options):
    transform = options.pop("transform", TrainTransform((40, 48), 32))
    options = {"num_frames": 4, "sampling_rate": 2, "num_clips": 3} | options
    return VideoDataset(records_of(paths), "train", transform, **options)


def test_set(paths, **options):
    transform = options.pop("transform", EvalTransform(32, 32, 3))
    options = {"num_frames": 4, "sampling_rate": 2, "views": 2} | options
    return VideoDataset(records_of(paths), "test", transform, **options)


test_set.__test__ = False


def count_opens(monkeypatch):
    opened = []

    def spy(path, *args):
        opened.append(path)
        return open_source(path, *args)

    monkeypatch.setattr(dataset, "open_source", spy)
    return opened


def test_train_item(videos, monkeypatch):
    opened = count_opens(monkeypatch)
    item = train_set(videos)[0, 2]
    assert item.clips.shape == (3, 3, 4, 32, 32) and item.clips.dtype == torch.uint8
    assert item.clips.is_contiguous()
    assert (item.label, item.index, item.failures) == (torch.tensor(2), 2, ())
    assert opened == [videos[2]]


def test_test_item_is_every_view_and_crop_from_one_opening(videos, monkeypatch):
    opened = count_opens(monkeypatch)
    data = test_set(videos)
    item = data[1]
    assert opened == [videos[1]]
    assert item.clips.shape == (2 * 3, 3, 4, 32, 32)
    with open_video(videos[1]) as video:
        frames = dict(video.pictures(range(40)))
    view = EvalTransform(32, 32, 3).views(1, 48, 64)[0]
    for temporal, start in enumerate((0, 16)):  # span 8 of 40 frames, 2 views
        for t, k in enumerate((0, 2, 4, 7)):
            for spatial, picture in enumerate(view.cut(frames[start + k])):
                got = item.clips[temporal * 3 + spatial, :, t].permute(1, 2, 0).numpy()
                assert np.array_equal(got, picture)


def test_every_frame_is_decoded_once(videos, monkeypatch):
    asked = []
    real = Video.pictures
    monkeypatch.setattr(Video, "pictures", lambda self, k: real(self, asked.append(sorted(k)) or k))
    test_set(videos, views=10, num_frames=8)[0]
    assert len(asked) == 1 and len(asked[0]) == len(set(asked[0])) <= 40


def test_clips_are_a_function_of_seed_epoch_and_index(videos):
    first, again = train_set(videos, seed=1), train_set(videos, seed=1)
    for key in [(0, 0), (0, 1), (3, 0)]:
        assert torch.equal(first[key].clips, again[key].clips)
    assert torch.equal(first[2].clips, first[0, 2].clips)
    clips = first[0, 0].clips
    assert not torch.equal(clips, first[1, 0].clips)
    assert not torch.equal(clips, train_set(videos, seed=2)[0, 0].clips)
    assert not torch.equal(clips[0], clips[1])


def test_a_worker_cuts_tests_into_memory_that_all_see(videos, monkeypatch):
    """A batch of a test is one video: nothing is left to copy. Training's videos are stacked."""
    tests, training = test_set(videos), train_set(videos)
    alone = tests[1].clips
    assert not alone.is_shared()
    monkeypatch.setattr(dataset, "get_worker_info", lambda: object())
    item = tests[1]
    assert item.clips.is_shared() and torch.equal(item.clips, alone)
    batch = collate([item])
    assert batch.clips.data_ptr() == item.clips.data_ptr()
    assert batch.clips.shape == (1, *alone.shape)
    assert not training[1].clips.is_shared()


def test_shared_and_stratified_reach_the_clips(videos, tmp_path):
    steps = np.repeat(np.arange(40, dtype=np.uint8) * 6, 48 * 64 * 3).reshape(40, 48, 64, 3)
    path = str(write_video(tmp_path / "steps.mp4", steps, options={"crf": "1"}))
    data = train_set([path], stratified=True, num_clips=4)
    brightness = data[0, 0].clips.float().mean(dim=(1, 2, 3, 4))
    assert (brightness.diff() > 0).all()
    data.shuffled = True
    orders = set()
    for epoch in range(6):  # the order is every visit's own
        brightness, order = data[epoch, 0].clips.float().mean(dim=(1, 2, 3, 4)).sort()
        assert (brightness.diff() > 0).all()
        orders.add(tuple(order.tolist()))
    assert len(orders) > 3
    data = train_set(videos, transform=TrainTransform((40, 48), 32, shared=True), num_frames=1)
    data.sampling_rate = 100  # longer than the video: every clip is its first frame
    assert all(torch.equal(data[0, 0].clips[0], clip) for clip in data[0, 0].clips)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_videos_shorter_than_a_clip(frames, tmp_path):
    path = str(write_video(tmp_path / "a.mp4", frames))
    train = train_set([path], num_frames=8, sampling_rate=8)[0]
    test = test_set([path], num_frames=8, sampling_rate=8)[0]
    assert train.clips.shape == (3, 3, 8, 32, 32) and test.clips.shape == (6, 3, 8, 32, 32)
    assert torch.equal(test.clips[:, :, -1], test.clips[:, :, -2])
    assert torch.equal(test.clips[0], test.clips[3])


def test_training_replaces_a_broken_video_and_names_it(videos):
    data = train_set([videos[0], "/none/a.mp4", videos[1]])
    item = data[0, 1]
    assert item.index in (0, 2) and item.label == item.index
    assert item.failures[0] == (
        "train.csv:2: /none/a.mp4: expected a video file, found nothing there"
    )
    assert torch.equal(item.clips, data[0, 1].clips)


@pytest.mark.parametrize("limit", [0, 3])
def test_training_stops_after_max_resamples(limit):
    data = train_set(["/none/a.mp4", "/none/b.mp4"], max_resamples=limit)
    with pytest.raises(DataError) as error:
        data[0, 0]
    first, *failures = str(error.value).splitlines()
    assert first.startswith(f"/lists/train.csv: {limit + 1} videos drawn in a row cannot be read")
    assert f"DATA.MAX_RESAMPLES {limit}" in first
    assert len(failures) == min(limit + 1, 2)  # the second is drawn several times, told once
    assert failures[0].startswith("train.csv:1: /none/a.mp4: ")


def test_test_stops_at_a_broken_video():
    with pytest.raises(VideoError) as error:
        test_set(["/none/a.mp4"])[0]
    message = str(error.value)
    assert message.startswith("train.csv:1: /none/a.mp4: expected a video file, found nothing")
    assert "TEST.SKIP_BROKEN True" in message


def test_skip_broken(videos):
    item = test_set([videos[0], "/none/a.mp4"], skip_broken=True)[1]
    assert item.clips is None and (item.label, item.index) == (torch.tensor(1), 1)
    assert item.failures == (
        "train.csv:2: /none/a.mp4: expected a video file, found nothing there",
    )


def test_a_video_outside_the_list(videos):
    with pytest.raises(IndexError, match="video 6 of 6"):
        test_set(videos)[6]


def test_records_hold_text_not_objects():
    paths = [f"/data/class {i % 400}/video_{i:06d}.mp4" for i in range(100_000)]
    records = Records("train.csv", paths, [i % 400 for i in range(100_000)], range(1, 100_001))
    text = sum(len(path) for path in paths)
    assert len(pickle.dumps(records)) < text + 100_000 * 20 + 1000
    assert (records.path(0), records.path(99_999)) == (paths[0], paths[-1])
    assert (records.label(401), records.where(811)) == (1, "train.csv:812")


def test_records_keep_odd_names(tmp_path):
    names = ["ünï cödé.mp4", "a\udcff.mp4", "b:c.mp4"]
    records = Records("x.csv", names, [0, 0, 0], [1, 2, 3], roots=("/first", str(tmp_path)))
    (tmp_path / names[0]).touch()
    assert records.path(0) == str(tmp_path / names[0])
    assert records.path(1) == str(tmp_path / names[1])


def loader_cfg(folder, workers=0, **keys):
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR = str(folder)
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = 4, 2
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE = [40, 48], 32
    cfg.DATA.TEST_CROP_SIZE, cfg.MODEL.NUM_CLASSES = 32, 10
    cfg.TRAIN.BATCH_SIZE, cfg.VIDEO.NUM_CLIPS = 4, 2
    cfg.DATA_LOADER.NUM_WORKERS = workers
    cfg.merge_from_list([x for pair in keys.items() for x in (pair[0].replace("__", "."), pair[1])])
    return cfg


def write_lists(folder, paths):
    for split in ("train", "val", "test"):
        (folder / f"{split}.csv").write_text("".join(f"{p} {i}\n" for i, p in enumerate(paths)))
    return folder


def test_loader_gives_the_same_batches_with_and_without_workers(videos, tmp_path):
    folder = write_lists(tmp_path, [*videos[:5], "/none/a.mp4", videos[5]])
    epochs = {}
    for workers in (0, 2):
        loader = build_loader(loader_cfg(folder, workers), "train")
        assert len(loader) == 3  # 7 videos, 2 a step: 4 clips of budget, 2 clips a video
        for epoch in (0, 1, 0):
            loader.sampler.set_epoch(epoch)
            batches = list(loader)
            epochs.setdefault(epoch, []).append(batches)
    for runs in epochs.values():
        for run in runs[1:]:
            for a, b in zip(runs[0], run, strict=True):
                assert torch.equal(a.clips, b.clips) and torch.equal(a.index, b.index)
                assert torch.equal(a.labels, b.labels) and a.failures == b.failures
    assert epochs[0][0][0].clips.shape == (2, 2, 3, 4, 32, 32)
    order = [torch.cat([b.index for b in epochs[e][0]]).tolist() for e in (0, 1)]
    assert order[0] != order[1]


def test_test_loader_gives_every_video_once_in_order(videos, tmp_path):
    folder = write_lists(tmp_path, [*videos[:2], "/none/a.mp4", *videos[2:]])
    cfg = loader_cfg(folder, 2, TEST__SKIP_BROKEN=True, TEST__NUM_ENSEMBLE_VIEWS=2)
    batches = list(build_loader(cfg, "test"))
    assert [batch.index.tolist() for batch in batches] == [[0], [1], [], [3], [4], [5], [6]]
    assert batches[0].clips.shape == (1, 2 * 3, 3, 4, 32, 32)
    assert batches[2].clips.numel() == 0 and batches[2].failures[0].startswith("test.csv:3: ")
    batch = next(iter(build_loader(cfg, "val")))
    assert batch.clips.shape == (1, cfg.TRAIN.EVAL_VIEWS, 3, 4, 32, 32)


@pytest.mark.parametrize("workers", [0, 1])
def test_error_of_a_worker_arrives_in_its_own_words(workers, tmp_path):
    folder = write_lists(tmp_path, ["/none/a.mp4"])
    with pytest.raises(VideoError) as error:
        list(build_loader(loader_cfg(folder, workers), "test"))
    assert str(error.value).startswith("test.csv:1: /none/a.mp4: expected a video file")
    assert "Traceback" not in str(error.value)


def test_loader_leaves_the_global_random_numbers_alone(videos, tmp_path):
    loader = build_loader(loader_cfg(write_lists(tmp_path, videos)), "train")
    before = torch.get_rng_state()
    list(loader)
    assert torch.equal(before, torch.get_rng_state())


def test_batch_plan_of_multi_iteration(videos, tmp_path):
    cfg = loader_cfg(write_lists(tmp_path, videos), VIDEO__STRATEGY="multi_iteration")
    assert next(iter(build_loader(cfg, "train"))).clips.shape[:2] == (4, 2)


def test_list_shorter_than_a_step(videos, tmp_path):
    cfg = loader_cfg(write_lists(tmp_path, videos[:1]))
    with pytest.raises(DataError, match="train.csv: the list has 1 videos, a step takes 2"):
        build_loader(cfg, "train")


def test_unknown_data_set(tmp_path):
    with pytest.raises(DataError, match="no data set is registered as 'Kinetic'; .*Kinetics"):
        build_loader(loader_cfg(tmp_path, TRAIN__DATASET="Kinetic"), "train")
