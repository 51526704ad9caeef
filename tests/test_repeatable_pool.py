"""Max pooling with a gradient that is added up in one order; and what asks for it."""

import copy
import os
import re

import pytest
import torch
from test_fast import batch, stepper
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from cmvl.backbones.build import build_backbone
from cmvl.config import load_cfg
from cmvl.engine.setup import setup
from cmvl.layers.repeatable_pool import RepeatablePool3d, make_pools_repeatable


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((1, 3, 3), (1, 2, 2), (0, 1, 1)), ((2, 3, 3), (2, 2, 2), 0), (3, 1, 1), ((1, 2, 2), None, 0)],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_same_values_and_gradients(kernel, stride, padding, layout):
    torch.manual_seed(0)
    plain = nn.MaxPool3d(kernel, stride, padding)
    pool = nn.Sequential(copy.deepcopy(plain))
    make_pools_repeatable(pool)
    assert type(pool[0]) is RepeatablePool3d
    x = torch.randint(-3, 4, (2, 3, 5, 9, 12)).double()  # ties, won by the same place
    x = x.contiguous(memory_format=layout).requires_grad_()
    y, expected = pool(x), plain(x)
    assert torch.equal(y, expected)
    dy = torch.randint(-9, 9, y.shape).double()
    (dx,), (want,) = (torch.autograd.grad(out, x, dy) for out in (y, expected))
    assert torch.equal(dx, want) and dx.is_contiguous(memory_format=layout)


def test_gradients_that_are_no_numbers_stay_where_they_are():
    pool = RepeatablePool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
    x = torch.randn(1, 1, 1, 8, 8, requires_grad=True)
    dy = torch.ones(1, 1, 1, 4, 4)
    dy[..., 0, 0] = float("inf")
    (dx,) = torch.autograd.grad(pool(x), x, dy)
    assert torch.isinf(dx).sum() == 1 and not torch.isnan(dx).any()


@pytest.mark.parametrize(
    "other",
    [nn.MaxPool3d(2, ceil_mode=True), nn.MaxPool3d(2, dilation=2), nn.MaxPool3d((1, 17, 17))],
)
def test_others_stay(other):
    net = nn.Sequential(other)
    make_pools_repeatable(net)
    assert type(net[0]) is nn.MaxPool3d


@pytest.mark.parametrize("name", ["SlowOnly", "I3D", "SlowFast", "torchvision/s3d"])
def test_no_pool_of_a_backbone_is_left(name):
    net = build_backbone(load_cfg(None, ["MODEL.BACKBONE", name]))
    make_pools_repeatable(net)
    pools = [type(m) for m in net.modules() if isinstance(m, nn.MaxPool3d)]
    assert pools and set(pools) == {RepeatablePool3d}


# Of torch's list (use_deterministic_algorithms): what has no way on a GPU that can be repeated.
NOT_REPEATABLE = re.compile(
    "(max_pool[23]d|avg_pool[23]d|fractional|adaptive|upsample|reflection|replication|grid_sampler|"
    "embedding_bag|nll_loss2d|ctc_loss).*backward|cumsum|histc|bincount|kthvalue|median|put_"
)


class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.add(operation.overloadpacket.__name__)
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("backbone", ["SlowFast", "I3D", "R2Plus1D"])
def test_a_step_has_nothing_that_cannot_be_repeated(backbone, deterministic):
    nonlocal_ = ["NONLOCAL.LOCATION", "[[],[0],[],[]]"] if backbone != "R2Plus1D" else []
    step = stepper("MODEL.BACKBONE", backbone, *nonlocal_, "DETERMINISTIC", deterministic)
    with Operations() as seen:
        step([batch()], 0.02)
    assert len(seen.names) > 30
    found = [name for name in seen.names if NOT_REPEATABLE.search(name)]
    pools = backbone != "R2Plus1D" and not deterministic
    assert found == ["max_pool3d_with_indices_backward"] * pools


def test_torch_is_asked_for_what_can_be_repeated(tmp_path, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    words = ["NUM_GPUS", "0", "OUTPUT_DIR", str(tmp_path)]
    setup(load_cfg(None, [*words, "DETERMINISTIC", "True"]), "train")
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    setup(load_cfg(None, words), "train")
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
