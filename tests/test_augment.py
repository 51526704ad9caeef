"""Colour and shape change alike in all frames of a clip, by chance of the video alone."""

import numpy as np
import pytest
import torch

from cmvl.config import get_cfg
from cmvl.data.augment import ClipAugment, build_augment
from cmvl.data.build import build_options

KINDS = {
    "randaugment": {"ops": 2},
    "colour": {"colour": 0.4},
    "erase": {"erase": 1.0},
    "all": {"ops": 2, "colour": 0.4, "erase": 0.5},
}


def still_clips(N=4, T=3):
    """Clips whose frames and clips are all one picture: uint8 (N, 3, T, 32, 32)."""
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8))
    return picture[None, :, None].expand(N, -1, T, -1, -1).contiguous()


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_a_clip_change_alike(kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", None)  # is not to be called
    clips = still_clips()
    before = torch.get_rng_state()
    augment = ClipAugment(**KINDS[kind])
    first = augment(clips, np.random.default_rng(1))
    assert first.shape == clips.shape and first.dtype == torch.uint8
    assert (first == first[:, :, :1]).all()
    assert torch.equal(first, augment(clips, np.random.default_rng(1)))
    assert not torch.equal(first, augment(clips, np.random.default_rng(2)))
    assert any(not torch.equal(first[0], clip) for clip in first[1:])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", KINDS)
def test_shared_is_one_draw(kind):
    result = ClipAugment(**KINDS[kind], shared=True)(still_clips(), np.random.default_rng(1))
    assert (result == result[:1]).all()


def test_erased_rectangle_has_the_mean_colour():
    result = ClipAugment(erase=1.0, grey=(10, 20, 30))(still_clips(), np.random.default_rng(0))
    changed = (result != still_clips())[0, 0, 0]
    rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
    assert 0 < changed.sum() <= len(rows) * len(columns)
    assert result[0, :, 0][:, changed].unique(dim=1).tolist() == [[10], [20], [30]]


def test_nothing_unless_asked_for():
    cfg = get_cfg()
    assert build_augment(cfg) is None
    cfg.AUG.RE_PROB = 0.25
    assert build_options(cfg, "train")["augment"] is not None
    assert build_options(cfg, "val")["augment"] is None
    cfg.DATA.MEAN = [0.2, 0.4, 1.0]
    assert build_augment(cfg).transform[0].value == [51, 102, 255]
