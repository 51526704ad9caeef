"""Clip-wise batch norm: groups, running statistics, and the company it keeps."""

import pytest
import torch
import torch.nn.functional as F
from norm_kernels import stand_ins
from torch import nn

from cmvl.engine.optim import NORMS
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d, clip_groups, frozen_stats, merge_groups
from cmvl.layers.grouped_norm import grouped_norm


def made(C=4):
    torch.manual_seed(1)
    ours, torchs = ClipwiseBatchNorm3d(C).double(), nn.BatchNorm3d(C).double()
    for p in ours.parameters():
        nn.init.normal_(p)
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


@pytest.mark.parametrize("N", [1, 3])
def test_equals_one_batch_norm_per_clip(N):
    B = 5
    ours, torchs = made()
    x = torch.randn(B, N, 4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    with clip_groups(ours, N):
        y = ours(x.flatten(0, 1)).unflatten(0, (B, N))
    expected = torch.stack([torchs(x[:, n]) for n in range(N)], dim=1)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    for (name, a), b in zip(ours.state_dict().items(), torchs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12, msg=name)
    weight = torch.randn_like(y)
    ours_grad = torch.autograd.grad((y * weight).sum(), [x, ours.weight, ours.bias])
    torchs_grad = torch.autograd.grad((expected * weight).sum(), [x, torchs.weight, torchs.bias])
    for a, b in zip(ours_grad, torchs_grad, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


def test_a_clip_does_not_see_its_videos_other_clips():
    ours, _ = made()
    x = torch.randn(3, 2, 4, 1, 2, 2, dtype=torch.float64)
    other = x.clone()
    other[:, 1] += torch.randn_like(other[:, 1])
    with clip_groups(ours, 2):
        a, b = ours(x.flatten(0, 1)), ours(other.flatten(0, 1))
    assert torch.equal(a.unflatten(0, (3, 2))[:, 0], b.unflatten(0, (3, 2))[:, 0])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_without_groups_it_is_torchs_over_all_clips(layout):
    ours, torchs = made()
    merge_groups(ours)
    x = torch.randn(6, 4, 2, 3, 3, dtype=torch.float64).contiguous(memory_format=layout)
    with clip_groups(ours, 3):
        torch.testing.assert_close(ours(x), torchs(x), rtol=0, atol=1e-12)
    for (name, a), b in zip(ours.state_dict().items(), torchs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_groups_together_are_the_same_groups(layout):
    """Values, gradients and running statistics, torch's kernels and the grouped one."""
    B, N = 4, 3
    x = torch.randn(B, N, 4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)
    apart, _ = made()
    with clip_groups(apart, N):
        expected = apart(x.flatten(0, 1)).unflatten(0, (B, N))
    expected_grad = torch.autograd.grad((expected * weight).sum(), [x, apart.weight, apart.bias])
    together, _ = made()
    grouped = lambda x: grouped_norm(  # noqa: E731
        x, together.weight, together.bias, N, together.eps, across=False, together=True
    )[0]
    for norm in (together, grouped):
        rows = x.transpose(0, 1).flatten(0, 1).contiguous(memory_format=layout)
        with clip_groups(together, N, together=True):
            y = norm(rows)
        assert y.is_contiguous(memory_format=layout)
        y = y.unflatten(0, (N, B)).transpose(0, 1)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
        got = torch.autograd.grad((y * weight).sum(), [x, together.weight, together.bias])
        for a, b in zip(got, expected_grad, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-11)
    for (name, a), b in zip(
        together.state_dict().items(), apart.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("together", [False, True])
def test_by_kernels_as_by_operations(together, layout):
    """On a CPU their stand-ins; tests/test_gpu.py has the kernels themselves."""
    if layout == torch.channels_last_3d and not together:
        pytest.skip("its groups are no views; operations take it")
    B, N, C = 4, 3, 5
    torch.manual_seed(0)
    x = torch.randn(B * N, C, 2, 3, 3, dtype=torch.float64).contiguous(memory_format=layout)
    weight, bias = torch.randn(2, C, dtype=torch.float64)
    inputs = [v.requires_grad_() for v in (x, weight, bias)]
    by_operations = grouped_norm(*inputs, N, 1e-5, False, together)
    with stand_ins() as kernel:
        by_kernels = grouped_norm(*inputs, N, 1e-5, False, together)
    assert kernel.call_count == (N if together else 1)
    assert by_kernels[0].is_contiguous(memory_format=layout)
    for a, b in zip(by_kernels, by_operations, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    dy = torch.randn_like(x)
    expected = torch.autograd.grad((by_operations[0] * dy).sum(), inputs)
    with stand_ins():
        gradients = torch.autograd.grad((by_kernels[0] * dy).sum(), inputs)
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("together", [False, True])
def test_running_statistics_are_exact_under_autocast(together):
    ours, torchs = ClipwiseBatchNorm3d(4), nn.BatchNorm3d(4)
    x = torch.randn(6, 4, 2, 3, 3).bfloat16()
    groups = x.unflatten(0, (3, 2)) if together else x.unflatten(0, (2, 3)).transpose(0, 1)
    with clip_groups(ours, 3, together), torch.autocast("cpu", torch.bfloat16):
        ours(x)
    for group in groups:
        torchs(group.float())
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours, name), getattr(torchs, name), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("N", "together"), [(1, False), (3, False), (3, True)])
def test_its_output_may_be_written_into(N, together, layout):
    """A ReLU in place is the same one, and copies no gradients for it."""
    x = torch.randn(6, 4, 2, 3, 3, dtype=torch.float64).contiguous(memory_format=layout)
    weight, found = torch.randn_like(x), []
    for relu in (F.relu, F.relu_):
        norm, _ = made()
        with clip_groups(norm, N, together):
            y = norm(x.requires_grad_())
        assert not y._is_view() and y.is_contiguous(memory_format=layout)
        z = relu(y)
        found.append([z, *torch.autograd.grad((z * weight).sum(), [x, *norm.parameters()])])
    assert z is y and all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_frozen_stats_change_nothing_else():
    ours, _ = made()
    x = torch.randn(6, 4, 1, 2, 2, dtype=torch.float64)
    with frozen_stats(ours):
        frozen = ours(x)
    assert torch.equal(ours.running_mean, torch.zeros(4, dtype=torch.float64))
    assert ours.num_batches_tracked == 0
    assert torch.equal(ours(x), frozen)
    assert ours.num_batches_tracked == 1


def test_contexts_give_back_what_they_found():
    ours, _ = made()
    with clip_groups(ours, 3, together=True):
        with clip_groups(ours, 2), frozen_stats(ours):
            assert (ours.clips, ours.together, ours.frozen) == (2, False, True)
        assert (ours.clips, ours.together, ours.frozen) == (3, True, False)
    assert (ours.clips, ours.together) == (1, False)


def test_is_a_batch_norm_to_everybody():
    ours, torchs = made()
    assert isinstance(ours, nn.BatchNorm3d) and isinstance(ours, NORMS)
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    x = torch.randn(2, 4, 1, 2, 2, dtype=torch.float64)
    assert torch.equal(ours.eval()(x), torchs.eval()(x))
