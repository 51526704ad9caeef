"""A stem's convolution, folded into two dimensions, is the same convolution."""

import copy

import pytest
import torch
from torch import nn

from cmvl.layers.folded_conv import FoldedConv3d, fold_stems


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((5, 7, 7), (1, 2, 2), (2, 3, 3)), ((5, 7, 7), (2, 2, 2), (2, 3, 3)), ((3, 4, 4), 1, 0)],
)
@pytest.mark.parametrize("bias", [False, True])
def test_same_values_and_gradients(kernel, stride, padding, bias):
    torch.manual_seed(0)
    plain = nn.Conv3d(3, 4, kernel, stride, padding, bias=bias).double()
    folded = copy.deepcopy(plain)
    fold_stems(folded)
    assert type(folded) is FoldedConv3d
    assert folded.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(2, 3, 7, 16, 16, dtype=torch.float64, requires_grad=True)
    y, expected = folded(x), plain(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    dy = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad((y * dy).sum(), [x, *folded.parameters()]),
        torch.autograd.grad((expected * dy).sum(), [x, *plain.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "other", [nn.Conv3d(8, 4, 3), nn.Conv3d(3, 4, (1, 7, 7)), nn.Conv3d(3, 3, 3, groups=3)]
)
def test_others_stay(other):
    fold_stems(other)
    assert type(other) is nn.Conv3d
