"""Every backbone keeps the contract; details of each kind."""

import copy
import json
from pathlib import Path

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from cmvl.backbones import BACKBONES, build_backbone
from cmvl.backbones.torchvision import FAMILIES
from cmvl.config import get_cfg
from cmvl.encode import batch_reduction, multi_iteration
from cmvl.layers import nonlocal_block
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d, clip_groups
from cmvl.utils.errors import ConfigError

REFERENCE = Path(__file__).parent / "data" / "models"
OURS = [name for name, _ in BACKBONES]
NAMES = OURS + [f"torchvision/{name}" for name in FAMILIES]
T = 8


def tiny(name="SlowOnly", **keys):
    """A small config; `RESNET__DEPTH=18` sets RESNET.DEPTH."""
    cfg = get_cfg()
    cfg.MODEL.BACKBONE = name
    cfg.RESNET.WIDTH_PER_GROUP = 16
    cfg.RESNET.STAGE_BLOCKS = [1, 2, 1, 1]
    for key, value in keys.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


def side_of(backbone):
    """The smallest clip that tells the strides apart; torchvision's nets are not tiny."""
    return 32 if hasattr(backbone, "net") else 64


def clips(B=2, frames=T, size=64):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (B, 3, frames, size, size), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module", params=NAMES)
def backbone(request):
    torch.manual_seed(0)
    return build_backbone(tiny(request.param, RESNET__ZERO_INIT_FINAL_BN=False))


def test_maps(backbone):
    """One map per pathway, with the channels and the stride that the attributes say."""
    size = side_of(backbone)
    with torch.inference_mode():
        maps = backbone.eval()(clips(size=size))
    side = size // backbone.stride
    assert isinstance(backbone.dims, tuple) and isinstance(backbone.stride, int)
    assert [(x.shape[0], x.shape[1], *x.shape[3:]) for x in maps] == [
        (2, d, side, side) for d in backbone.dims
    ]
    assert all(x.isfinite().all() and x.dtype == torch.float32 for x in maps)


def test_normalisation_is_the_backbones(backbone):
    pixels = clips(size=side_of(backbone))
    x = backbone.normalise(pixels)
    assert x.dtype == torch.float32 and pixels.dtype == torch.uint8
    torch.testing.assert_close(x, (pixels / 255 - 0.45) / 0.225)
    assert backbone.normalise(x) is x
    with torch.inference_mode():
        for a, b in zip(backbone.eval()(pixels), backbone(x), strict=True):
            assert torch.equal(a, b)
    assert not {"mean", "std"} & set(backbone.state_dict())


def test_every_parameter_learns(backbone):
    torch.manual_seed(0)
    for p in backbone.parameters():
        p.grad = None
    maps = backbone.train()(clips(B=3, size=side_of(backbone)))
    sum((x * torch.randn_like(x)).sum() for x in maps).backward()
    for name, p in backbone.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
        assert p.grad.abs().max() > 0, name


def test_clip_groups(backbone):
    """Two clips per video in one batch are as good as two batches, in features and statistics."""
    together = copy.deepcopy(backbone).eval()
    for module in together.modules():  # without dropout and stochastic depth
        module.training = isinstance(module, nn.BatchNorm3d)
    apart = copy.deepcopy(together)
    x = clips(B=6, size=side_of(backbone)).unflatten(0, (3, 2))
    with torch.no_grad():
        with clip_groups(together, 2):
            maps = together(x.flatten(0, 1))
        each = [apart(x[:, n]) for n in range(2)]
    for got, want in zip(maps, zip(*each, strict=True), strict=True):
        want = torch.stack(want, dim=1).flatten(0, 1)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * want.abs().max().item())
    for (name, a), b in zip(together.named_buffers(), apart.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("N", [1, 3])
def test_both_strategies_train_it_alike(backbone, N):
    """Equal features, gradients and running statistics (Sec. 3.3), to float64's precision."""
    size = side_of(backbone)
    videos = clips(2 * N, size=size).unflatten(0, (2, N))
    runs = []
    for encode in (batch_reduction, multi_iteration):
        f = copy.deepcopy(backbone).double().train()
        for module in f.modules():
            if hasattr(module, "p"):
                module.p = 0.0  # dropout and stochastic depth draw per call, not per clip
        maps = encode(f, videos)
        sum((x**2).mean() for x in maps).backward()
        gradients = [p.grad for p in f.parameters() if p.grad is not None]
        runs.append([*maps, *gradients, *f.state_dict().values()])
    for a, b in zip(*runs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_every_norm_is_clipwise(backbone):
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm3d)]
    assert all(type(m) is ClipwiseBatchNorm3d for m in norms)


def test_double_precision():
    backbone = build_backbone(tiny()).double().eval()
    (x,) = backbone(clips())
    assert x.dtype == torch.float64


def test_unknown_names():
    with pytest.raises(ConfigError, match=r"'Slow'.*I3D \| R2Plus1D \| SlowFast \| SlowOnly"):
        build_backbone(tiny("Slow"))
    with pytest.raises(ConfigError, match="mvit_v2_s"):
        build_backbone(tiny("torchvision/vit"))


@pytest.mark.parametrize("depth", [18, 34])
def test_basic_blocks(depth):
    cfg = get_cfg()
    cfg.RESNET.DEPTH = depth
    with torch.device("meta"):
        backbone = build_backbone(cfg)
    assert backbone.dims == (512,) and backbone.stride == 32
    block = backbone.s3.pathway0_res1
    assert [name for name, _ in block.branch2.named_children()] == ["a", "a_bn", "b", "b_bn"]
    assert not block.projects and block.branch2.b_bn.zero_init
    assert block.branch2.a.kernel_size == (1, 3, 3)
    assert backbone.s5.pathway0_res1.branch2.a.kernel_size == (3, 3, 3)


def test_nested_and_flat_values_are_one():
    """PySlowFast writes one list per stage, with a number per pathway."""
    flat = tiny(
        "SlowFast",
        RESNET__SPATIAL_STRIDES=[1, 2, 2, 1],
        RESNET__SPATIAL_DILATIONS=[1, 1, 1, 2],
        RESNET__NUM_BLOCK_TEMP_KERNEL=[1, 1, 1, 1],
        NONLOCAL__LOCATION=[[], [1], [], []],
        NONLOCAL__POOL=[1, 2, 2],
    )
    nested = tiny(
        "SlowFast",
        RESNET__SPATIAL_STRIDES=[[1, 1], [2, 2], [2, 2], [1, 1]],
        RESNET__SPATIAL_DILATIONS=[[1], [1], [1], [2]],
        RESNET__NUM_BLOCK_TEMP_KERNEL=[[1, 1], [1, 1], [1, 1], [1, 1]],
        NONLOCAL__LOCATION=[[[], []], [[1], []], [[], []], [[], []]],
        NONLOCAL__POOL=[[[1, 2, 2], [1, 2, 2]]] * 4,
        NONLOCAL__GROUP=[[1, 1]] * 4,
    )
    a, b = build_backbone(flat), build_backbone(nested)
    assert str(a) == str(b)
    assert a.stride == 16
    assert a.s5.pathway1_res0.branch2.b.dilation == (1, 2, 2)
    assert a.s3.pathway0_nonlocal1.pool.kernel_size == (1, 2, 2)
    assert a.s3.pathway1_res1.branch2.a.kernel_size == (1, 1, 1)  # beyond the first block


def test_number_of_temporal_blocks():
    backbone = build_backbone(
        tiny(RESNET__STAGE_BLOCKS=[1, 1, 3, 1], RESNET__NUM_BLOCK_TEMP_KERNEL=[9, 9, 2, 9])
    )
    blocks = [getattr(backbone.s4, f"pathway0_res{i}") for i in range(3)]
    assert [block.branch2.a.kernel_size[0] for block in blocks] == [3, 3, 1]


@pytest.mark.parametrize(
    "keys,match",
    [
        ({"RESNET__DEPTH": 20}, "RESNET.DEPTH is 20"),
        ({"RESNET__SPATIAL_STRIDES": [1, 2, 2]}, "RESNET.SPATIAL_STRIDES"),
        ({"RESNET__STAGE_BLOCKS": [1, 1]}, "RESNET.STAGE_BLOCKS"),
        ({"NONLOCAL__LOCATION": [[], [3], [], []]}, "block 3 of res3.* 0 to 1"),
        ({"NONLOCAL__LOCATION": [1, 3]}, "NONLOCAL.LOCATION"),
        ({"NONLOCAL__LOCATION": [[1], [3]]}, "NONLOCAL.LOCATION"),
        ({"NONLOCAL__POOL": [2, 2]}, "NONLOCAL.POOL"),
        ({"NONLOCAL__INSTANTIATION": "gaussian"}, "dot_product"),
        ({"MODEL__BACKBONE": "SlowFast", "SLOWFAST__BETA_INV": 5}, "SLOWFAST.BETA_INV 5"),
        ({"MODEL__BACKBONE": "SlowFast", "SLOWFAST__FUSION_KERNEL_SZ": 4}, "choose an odd one"),
        (
            {
                "MODEL__BACKBONE": "SlowFast",
                "RESNET__SPATIAL_STRIDES": [[1, 2], [2, 2], [2, 2], [2, 2]],
            },
            "RESNET.SPATIAL_STRIDES .* give both the same",
        ),
        ({"MODEL__BACKBONE": "R2Plus1D", "RESNET__DEPTH": 18}, "26, 50, 101 or 152"),
    ],
)
def test_impossible_values(keys, match):
    with pytest.raises(ConfigError, match=match):
        build_backbone(tiny(**keys))


def test_slowfast_wants_whole_groups_of_frames():
    backbone = build_backbone(tiny("SlowFast"))
    with pytest.raises(ConfigError, match="DATA.NUM_FRAMES 6 .* SLOWFAST.ALPHA 4"):
        backbone(clips(frames=6))


def test_i3d_forms():
    """PySlowFast's 8x8, the non-local paper's 32x2, LFB's on AVA: frames and side of res5."""
    original = {"I3D__CONV1_STRIDE": 2, "I3D__POOL1_SIZE": 2, "I3D__POOL1_PAD": 0}
    lfb = {
        "I3D__POOL1_PAD": 0,
        "RESNET__SPATIAL_STRIDES": [1, 2, 2, 1],
        "RESNET__SPATIAL_DILATIONS": [1, 1, 1, 2],
        "NONLOCAL__LOCATION": [[], [1], [], []],
        "NONLOCAL__GROUP": [1, 4, 1, 1],
        "NONLOCAL__INSTANTIATION": "softmax",
    }
    shapes = []
    for keys, frames in (({}, 8), (original, 32), (lfb, 32)):
        with torch.inference_mode():
            (x,) = build_backbone(tiny("I3D", **keys)).eval()(clips(1, frames, 112))
        shapes.append(tuple(x.shape[2:]))
    assert shapes == [(4, 4, 4), (4, 4, 4), (16, 7, 7)]


@pytest.mark.parametrize("model_id", ["SLOWFAST_8x8_R50", "SLOWFAST_NLN_8x8_R50"])
def test_gflops(model_id, monkeypatch):
    """Multiply-adds at 256 as published; the non-local products in the published order."""
    monkeypatch.setattr(nonlocal_block, "keys_first", lambda *_: False)
    reference = json.loads((REFERENCE / f"{model_id}.json").read_text())
    cfg = get_cfg()
    cfg.MODEL.BACKBONE = "SlowFast"
    cfg.SLOWFAST.FUSION_KERNEL_SZ = reference["config"]["SLOWFAST"]["FUSION_KERNEL_SZ"]
    cfg.NONLOCAL.LOCATION = reference["config"]["NONLOCAL"]["LOCATION"]
    backbone = build_backbone(cfg).eval()
    flops = FlopCountAnalysis(backbone, torch.zeros(1, 3, 32, 256, 256))
    flops.unsupported_ops_warnings(False)
    count = sum(n for kind, n in flops.by_operator().items() if kind != "batch_norm") / 1e9
    head = reference["gflops"]["256"]["by_operator"]["linear"]
    assert count + head == pytest.approx(reference["gflops"]["256"]["without_batch_norm"], 1e-9)
