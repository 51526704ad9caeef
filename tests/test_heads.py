"""The head of videos by hand, and how either head begins."""

import pytest
import torch

from cmvl.config import load_cfg
from cmvl.heads import PooledHead, RoIHead


def head_of(kind, dims, *opts):
    torch.manual_seed(0)
    return kind.from_cfg(load_cfg(None, [*map(str, opts)]), dims, stride=32)


@pytest.mark.parametrize("kind", [PooledHead, RoIHead])
def test_initial_weights_are_small_and_normal(kind):
    projection = head_of(kind, [64, 36], "MODEL.FC_INIT_STD", 0.5, "MODEL.NUM_CLASSES", 200)
    weight = projection.projection.weight
    assert weight.shape == (200, 100) and not projection.projection.bias.any()
    assert weight.std().item() == pytest.approx(0.5, rel=0.03)
    assert weight.abs().max() > 1.5  # uniform numbers of this spread end at 0.87


def test_windows_have_a_training_maps_size():
    """40 pixels make a map of 2 x 2: what is left of 32 is a position too."""
    head = head_of(PooledHead, [2, 3], "DATA.TRAIN_CROP_SIZE", 40, "MODEL.NUM_CLASSES", 4).eval()
    maps = [torch.randn(1, 2, d, t, 3, 4) for d, t in ((2, 1), (3, 4))]
    logits = head.windows(maps)
    assert logits.shape == (1, 2, 6, 4)
    for p in range(6):
        y, x = divmod(p, 3)
        window = [m[..., y : y + 2, x : x + 2] for m in maps]
        torch.testing.assert_close(logits[:, :, p], head(window))
