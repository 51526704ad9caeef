"""Whole videos are mixed, labels as pixels are, by chance of the batch alone."""

import numpy as np
import pytest
import torch
from torch import nn

from cmvl.config import load_cfg
from cmvl.data import build_loader
from cmvl.data.mixing import VideoMixer, build_collate
from cmvl.losses import VideoLoss, top1_error
from cmvl.structures import VideoBatch, VideoItem, collate

B, N, K = 4, 3, 6
LABELS = torch.tensor([5, 0, 3, 2])


def items(labels=LABELS, clip_labels=None, first=10):
    """B videos of noise in clips (N, 3, 2, 24, 40)."""
    pixels = np.random.default_rng(0).integers(0, 256, (B, N, 3, 2, 24, 40), np.uint8)
    of_clips = [None] * B if clip_labels is None else clip_labels
    return [
        VideoItem(torch.from_numpy(clips.copy()), label, first + b, clip_labels=per_clip)
        for b, (clips, label, per_clip) in enumerate(zip(pixels, labels, of_clips, strict=True))
    ]


def before() -> VideoBatch:
    return collate(items())


def test_videos_are_added_as_their_labels_are():
    batch = VideoMixer(K, alpha=1.0, cut_alpha=0)(items())
    shares = batch.labels[range(B), LABELS]
    assert len(shares.unique()) == B and 0 < shares.min() and shares.max() < 1
    torch.testing.assert_close(batch.labels[range(B), LABELS.roll(1)], 1 - shares)
    torch.testing.assert_close(batch.labels.sum(1), torch.ones(B))
    own, other = before().clips.double(), before().clips.roll(1, 0).double()
    s = shares.double().view(-1, 1, 1, 1, 1, 1)
    torch.testing.assert_close(batch.clips.double(), s * own + (1 - s) * other, rtol=0, atol=0.51)


def test_a_rectangle_of_another_video_counts_by_its_area():
    batch = VideoMixer(K, alpha=0, cut_alpha=1.0, seed=1)(items())
    own, other = before().clips, before().clips.roll(1, 0)
    assert ((batch.clips == own) | (batch.clips == other)).all()
    for b in range(B):
        from_other = (batch.clips[b] != own[b]).flatten(0, 2).any(0)
        area = float(batch.labels[b, LABELS[b - 1]])
        assert float(from_other.float().mean()) == pytest.approx(area, abs=1e-6) and area > 0
        rows, columns = from_other.any(1), from_other.any(0)
        assert torch.equal(from_other, rows[:, None] & columns)
        assert (batch.clips[b] == other[b])[..., from_other].all()
    torch.testing.assert_close(batch.labels.sum(1), torch.ones(B))


def test_chance_is_that_of_the_seed_and_the_videos():
    mixer = VideoMixer(K, seed=3)
    first = mixer(items())
    again = mixer(items())
    assert torch.equal(first.clips, again.clips) and torch.equal(first.labels, again.labels)
    assert not torch.equal(first.labels, VideoMixer(K, seed=4)(items()).labels)
    assert not torch.equal(first.labels, mixer(items(first=11)).labels)


def test_both_kinds_and_none():
    kinds = [VideoMixer(K, alpha=1.0, seed=seed)(items()).clips for seed in range(20)]
    own, other = before().clips, before().clips.roll(1, 0)
    cut = [((clips == own) | (clips == other)).flatten(1).all(1) for clips in kinds]
    assert 0.25 < torch.cat(cut).float().mean() < 0.75
    never = VideoMixer(K, prob=0)(items())
    assert torch.equal(never.clips, own)
    assert torch.equal(never.labels, nn.functional.one_hot(LABELS, K).float())


def test_several_labels_and_those_of_clips():
    labels = torch.randint(0, 2, (B, K), generator=torch.Generator().manual_seed(0)).float()
    of_clips = torch.randint(0, 2, (B, N, K), generator=torch.Generator().manual_seed(1)).float()
    batch = VideoMixer(K, alpha=1.0, cut_alpha=0)(items(labels, of_clips))
    shares = VideoMixer(K, alpha=1.0, cut_alpha=0)(items()).labels[range(B), LABELS]
    for b in range(B):
        s = shares[b]
        torch.testing.assert_close(batch.labels[b], s * labels[b] + (1 - s) * labels[b - 1])
        mixed = s * of_clips[b] + (1 - s) * of_clips[b - 1]
        torch.testing.assert_close(batch.clip_labels[b], mixed)


def test_loss_and_error_of_a_mixed_video():
    """A cross-entropy is linear in its target."""
    logits = torch.randn(1, N, K, dtype=torch.float64)
    mixed = torch.tensor([[0, 0, 0.3, 0.7, 0, 0]], dtype=torch.float64)
    loss = VideoLoss(nn.CrossEntropyLoss(), 0.5, top1_error)
    parts = [loss(logits, torch.tensor([k]))["loss"] for k in (2, 3)]
    torch.testing.assert_close(loss(logits, mixed)["loss"], 0.3 * parts[0] + 0.7 * parts[1])
    sure = nn.functional.one_hot(torch.tensor([[2], [3]]), K).double()
    assert [loss(one, mixed)["error"] for one in sure[:, None]] == [100, 0]


def test_of_a_config(demo_data):
    """Training alone; workers or none, the batches are the same."""
    opts = (
        "MIXUP.ENABLE True MODEL.NUM_CLASSES 2 VIDEO.NUM_CLIPS 2 TRAIN.BATCH_SIZE 8 NUM_GPUS 0 "
        "DATA.TRAIN_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40] DATA.NUM_FRAMES 2 "
        f"DATA.PATH_TO_DATA_DIR {demo_data / 'relation'} DATA_LOADER.NUM_WORKERS"
    ).split()
    cfgs = [load_cfg(None, [*opts, workers]) for workers in ("0", "2")]
    here, there = (list(build_loader(cfg, "train")) for cfg in cfgs)
    assert len(here) == 3 and all(batch.labels.shape == (4, 2) for batch in here)
    for batch, same in zip(here, there, strict=True):
        assert torch.equal(batch.clips, same.clips) and torch.equal(batch.labels, same.labels)
    plain = list(build_loader(load_cfg(None, [*opts, "0", "MIXUP.ENABLE", "False"]), "train"))
    assert not torch.equal(here[0].clips, plain[0].clips)
    assert torch.equal(here[0].index, plain[0].index)
    assert build_collate(cfgs[0], "val") is collate
