"""The non-local block against its equations; how weights start."""

import pytest
import torch
from torch import nn

from cmvl.backbones import build_backbone
from cmvl.config import get_cfg
from cmvl.layers import nonlocal_block
from cmvl.layers.init import init_linear
from cmvl.layers.nonlocal_block import NonLocal
from cmvl.utils.errors import ConfigError


def slow_net(zero_init=True):
    cfg = get_cfg()
    cfg.RESNET.STAGE_BLOCKS = [1, 2, 1, 1]
    cfg.RESNET.ZERO_INIT_FINAL_BN = zero_init
    cfg.NONLOCAL.LOCATION = [[], [1], [], []]
    return build_backbone(cfg)


def literal(block, x, softmax):
    """The block written out, one clip and group at a time."""
    out = []
    for clip in x:
        theta, pooled = block.conv_theta(clip), block.pool(clip)
        d = theta.shape[0]
        q, k, v = (
            y.reshape(d, block.groups, -1)
            for y in (theta, block.conv_phi(pooled), block.conv_g(pooled))
        )
        rows = []
        for g in range(block.groups):
            affinity = q[:, g].T @ k[:, g]
            m = k.shape[-1]
            affinity = (affinity * d**-0.5).softmax(-1) if softmax else affinity / m
            rows.append((affinity @ v[:, g].T).T)
        out.append(torch.stack(rows, 1).reshape(theta.shape))
    return x + block.bn(block.conv_out(torch.stack(out)))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("affinity", ["softmax", "dot_product"])
@pytest.mark.parametrize("keys_first", [False, True])
def test_nonlocal(affinity, groups, keys_first, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(nonlocal_block, "keys_first", lambda *_: keys_first)
    block = NonLocal(8, 4, affinity, (2, 2, 2), groups).double()
    x = torch.randn(2, 8, 4, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(block(x), literal(block, x, affinity == "softmax"))
    with pytest.raises(ConfigError, match="NONLOCAL.GROUP"):
        NonLocal(8, 4, groups=3)(torch.randn(2, 8, 4, 6, 6))


def test_a_pool_larger_than_the_map():
    block = NonLocal(8, 4, pool=(1, 2, 2))
    with pytest.raises(ConfigError, match=r"NONLOCAL.POOL \[1, 2, 2\] does not fit .* \[4, 1, 3\]"):
        block(torch.rand(1, 8, 4, 1, 3))


@pytest.mark.parametrize("zero", [True, False])
def test_initial_weights(zero):
    backbone = slow_net(zero)
    conv = backbone.s5.pathway0_res0.branch2.b.weight
    assert conv.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    closing = [backbone.s2.pathway0_res0.branch2.c_bn, backbone.s3.pathway0_nonlocal1.bn]
    for norm in closing:
        assert (norm.weight == (0 if zero else 1)).all() and (norm.bias == 0).all()
    assert (backbone.s2.pathway0_res0.branch1_bn.weight == 1).all()
    assert (backbone.s3.pathway0_nonlocal1.conv_g.bias == 0).all()
    linear = nn.Linear(1000, 400)
    init_linear(linear, 0.01)
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.02)


def test_zero_init_is_the_identity():
    torch.manual_seed(0)
    stage = slow_net().s3
    x = torch.rand(2, 512, 4, 8, 8)
    for block in (stage.pathway0_res1, stage.pathway0_nonlocal1):
        assert torch.equal(block(x), x)
