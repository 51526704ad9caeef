"""Our nets against PySlowFast's and pytorchvideo's: names, features, logits, one train step.

Weights and clips follow from names (tests/data/models/filler.py), so no weights are stored.
"""

import gzip
import importlib.util
import json
from functools import cache, lru_cache, partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cmvl.backbones import build_backbone
from cmvl.backbones.slowfast import slow_frames
from cmvl.checkpoint.names import PTV_ONE_PATHWAY, substitute
from cmvl.config import get_cfg
from cmvl.heads import PooledHead

DATA = Path(__file__).parent / "data" / "models"
BACKBONE = {"slow": "SlowOnly", "i3d": "I3D", "slowfast": "SlowFast"}
PROBES = {
    "SLOW_8x8_R50": ("p64", "p64x96", "p112"),
    "SLOW_4x16_R50": ("p64", "p64x96", "p112", "native_test"),
    "SLOW_NLN_8x8_R50": ("p64", "p64x96"),
    "I3D_8x8_R50": ("p64", "p64x96"),
    "I3D_NLN_8x8_R50": ("p64", "p64x96"),
    "SLOWFAST_4x16_R50": ("p64", "p64x96"),
    "SLOWFAST_8x8_R50": ("p64", "p64x96"),
    "SLOWFAST_NLN_8x8_R50": ("p64", "p64x96"),
    "Charades_SLOWFAST_16x8_R50": ("p64", "p64x96"),
    "AVA_SLOWFAST_32x2_R50_SHORT": ("p64", "p96x128"),
    "SLOWFAST_8x8_R101_101_101": ("p64",),
    "SLOWFAST_NLN_16x8_R101_50_50": ("p64",),
    "SLOWFAST_NLN_8x8_R101_101_101_pool222_derived": ("p64",),
}
TRAINED = ("SLOW_NLN_8x8_R50", "I3D_NLN_8x8_R50", "SLOWFAST_8x8_R50")
PTV = "PTV_R2PLUS1D_16x2_R50"
pytorchvideo_name = partial(substitute, PTV_ONE_PATHWAY)


def load_filler():
    spec = importlib.util.spec_from_file_location("filler", DATA / "filler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


filler = load_filler()


@pytest.fixture(scope="module", autouse=True)
def _forget():
    yield
    weight.cache_clear()
    filled.cache_clear()


@cache
def weight(name, shape):
    return torch.from_numpy(filler.fill(name, shape))


def load(name):
    return json.loads((DATA / name).read_text())


def clip_of(entry):
    clip = filler.clip(entry["key"], entry["shape"])
    assert filler.digest(clip) == entry["sha256"]
    return torch.from_numpy(clip)


def cfg_of(values):
    """Our config with the reference's values where we have the key."""
    cfg = get_cfg()
    cfg.MODEL.BACKBONE = BACKBONE[values["MODEL"]["ARCH"]]
    cfg.MODEL.NUM_CLASSES = values["MODEL"]["NUM_CLASSES"]
    for section in ("RESNET", "NONLOCAL", "SLOWFAST"):
        for key, value in (values.get(section) or {}).items():
            if key in cfg[section]:
                cfg[section][key] = value
    return cfg


def net_of(model_id):
    """Backbone and head without memory behind them, under the names of a whole model."""
    cfg = cfg_of(load(f"{model_id}.json")["config"])
    with torch.device("meta"):
        backbone = build_backbone(cfg)
        head = PooledHead(backbone.dims, cfg.MODEL.NUM_CLASSES, pool=1)
    return nn.ModuleDict({"backbone": backbone, "head": head})


def reference_names(net):
    """(name in PySlowFast, tensor): its names have no `backbone.`."""
    return [(name.removeprefix("backbone."), t) for name, t in net.state_dict().items()]


def state_of(net):
    names = reference_names(net)
    return dict(zip(net.state_dict(), (weight(n, tuple(t.shape)) for n, t in names), strict=True))


@lru_cache(maxsize=1)
def filled(model_id):
    net = net_of(model_id)
    net.load_state_dict(state_of(net), assign=True)
    return net.eval()


def windows(net, maps, kernel):
    """Logits (B, P, K) of the windows of a head built for the recorded crop."""
    net["head"].pool = kernel[-1]
    return net["head"].windows([x.unsqueeze(1) for x in maps])[:, 0]


def assert_same(got, want, tolerance=1e-5):
    """`want`: shape, and values at flat positions (or all of them), relative to the peak."""
    assert list(got.shape) == want["shape"]
    values = torch.tensor(want["values"], dtype=got.dtype)
    flat = got.flatten()
    sample = flat[torch.tensor(want["positions"])] if "positions" in want else flat
    peak = want.get("abs_max", values.abs().max().item())
    assert (sample - values).abs().max().item() <= tolerance * peak
    if "abs_max" in want:
        assert abs(got.abs().max().item() - peak) <= tolerance * peak
        assert abs(got.mean().item() - want["mean"]) <= tolerance * peak


def test_filler_is_the_reference_one():
    checks = load("filler_checks.json")
    assert filler.words("cmvl", 3).tolist() == checks["words_cmvl_first3"]
    for row in checks["fill"][:3]:
        assert filler.digest(filler.fill(row["name"], row["shape"])) == row["sha256"]


@pytest.mark.parametrize("model_id", PROBES)
def test_state_dict(model_id):
    """Names, shapes, order and kinds."""
    with gzip.open(DATA / f"{model_id}.state.json.gz", "rt") as file:
        reference = json.load(file)
    net = net_of(model_id)
    parameters = {name.removeprefix("backbone.") for name, _ in net.named_parameters()}
    ours = [
        [name, list(t.shape), "param" if name in parameters else "buffer"]
        for name, t in reference_names(net)
    ]
    assert ours == reference["state_dict"]


@pytest.mark.parametrize("model_id", PROBES)
def test_convolutions_and_norms(model_id):
    """Geometry of every convolution; which norms start at zero."""
    with gzip.open(DATA / f"{model_id}.state.json.gz", "rt") as file:
        reference = json.load(file)
    modules = dict(net_of(model_id)["backbone"].named_modules())
    ours = {
        name: [
            *map(list, (m.kernel_size, m.stride, m.padding, m.dilation)),
            m.groups,
            m.bias is not None,
        ]
        for name, m in modules.items()
        if isinstance(m, nn.Conv3d)
    }
    assert ours == reference["convs"]
    norms = [m for m in modules.values() if isinstance(m, nn.BatchNorm3d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-5, 0.1)}
    closing = [f"{name}.weight" for name, m in modules.items() if getattr(m, "zero_init", False)]
    assert sorted(closing) == sorted(reference["zero_at_init_with_ZERO_INIT_FINAL_BN"])


@pytest.mark.parametrize(
    "model_id,name", [(model_id, name) for model_id, names in PROBES.items() for name in names]
)
def test_probe(model_id, name):
    reference = load(f"{model_id}.json")
    probe = next(p for p in reference["probes"] if p["name"] == name)
    net, seen = filled(model_id), {}
    hooks = [
        getattr(net["backbone"], stage).register_forward_hook(
            lambda _, __, out, stage=stage: seen.update({stage: out})
        )
        for stage in probe.get("stages", {})
    ]
    with torch.inference_mode():
        maps = net["backbone"](clip_of(probe["input"]))
    for hook in hooks:
        hook.remove()
    for stage, want in {**probe.get("stages", {}), "res5": probe["res5"]}.items():
        for got, entry in zip(seen.get(stage, maps), want, strict=True):
            assert_same(got, entry)
    if "DETECTION" in reference["config"]:
        return  # its RoI head is tested elsewhere
    with torch.inference_mode():
        logits = windows(net, maps, probe["head_pool_kernels"]["pathway0_avgpool"])
    assert_same(logits.reshape(probe["logits"]["shape"]), probe["logits"])
    act = {"softmax": lambda x: x.softmax(-1), "sigmoid": torch.sigmoid}
    scores = act[reference["config"]["MODEL"]["HEAD_ACT"]](logits).mean(1)
    assert_same(scores, probe["output"])


@pytest.mark.parametrize("model_id", [i for i in PROBES if "SLOWFAST" in i])
def test_slow_frames(model_id):
    reference = load(f"{model_id}.json")
    alpha = reference["config"]["SLOWFAST"]["ALPHA"]
    for probe in reference["probes"]:
        frames = slow_frames(probe["input"]["shape"][2], alpha)
        assert frames == probe["input"]["slow_frames"]


def test_slow_frames_are_those_of_linspace():
    for T in range(1, 330):
        for alpha in (n for n in range(1, 33) if T % n == 0):
            points = torch.linspace(0, T - 1, T // alpha).long()
            assert slow_frames(T, alpha) == points.tolist(), (T, alpha)


@pytest.mark.parametrize("model_id", TRAINED)
def test_train_step(model_id):
    """One forward and backward in float64: loss, gradients, running statistics."""
    step = load(f"{model_id}.train_step.json")
    net = net_of(model_id)
    net.load_state_dict({n: t.clone() for n, t in state_of(net).items()}, assign=True)
    net.double().train()
    maps = net["backbone"](clip_of(step["input"]).double())
    (logits,) = windows(net, maps, maps[0].shape[-1:]).unbind(1)
    loss = F.cross_entropy(logits, torch.tensor(step["labels"]))
    loss.backward()
    near = dict(rel=1e-7)
    assert loss.item() == pytest.approx(step["loss"], **near)
    gradients = {n.removeprefix("backbone."): p.grad for n, p in net.named_parameters()}
    total = sum(g.square().sum() for g in gradients.values()).sqrt().item()
    assert total == pytest.approx(step["gradient_l2_all_parameters"], **near)
    for name, want in step["gradients"].items():
        got = gradients[name].flatten()
        if want.get("structurally_zero"):
            assert got.norm().item() < 1e-12 * total
            continue
        assert got.norm().item() == pytest.approx(want["l2"], **near)
        sample = got[torch.tensor(want["positions"])].tolist()
        assert sample == pytest.approx(want["values"], rel=1e-7, abs=1e-7 * want["l2"])
    buffers = {n.removeprefix("backbone."): b for n, b in net.named_buffers()}
    for name, want in step["buffers_after"].items():
        assert buffers[name].norm().item() == pytest.approx(want["l2"], **near)
        assert buffers[name][:4].tolist() == pytest.approx(want["first4"], **near)
    tracked = {int(b) for n, b in buffers.items() if n.endswith("num_batches_tracked")}
    assert tracked == {step["num_batches_tracked_after"]}


def ptv_fill(name, shape):
    if name.endswith(".norm_c.weight"):
        return torch.from_numpy((0.2 + 0.03 * filler.bell(name, shape[0])).astype("float32"))
    return torch.from_numpy(filler.fill(name, shape))


def test_r2plus1d_is_pytorchvideos():
    """Names by one rule, shapes, geometry, features and logits."""
    reference = load(f"{PTV}.json")
    cfg = get_cfg()
    cfg.MODEL.BACKBONE = "R2Plus1D"
    with torch.device("meta"):
        backbone = build_backbone(cfg)
        net = nn.ModuleDict({"backbone": backbone, "head": PooledHead(backbone.dims, 400, pool=2)})
    ours = [[name, list(t.shape)] for name, t in reference_names(net)]
    assert ours == [[pytorchvideo_name(name), shape] for name, shape, _ in reference["state"]]
    modules = dict(backbone.named_modules())
    for name, *geometry in reference["convs"]:
        m = modules[pytorchvideo_name(f"{name}.").removesuffix(".")]
        assert [*map(list, (m.kernel_size, m.stride, m.padding))] == geometry
    state = {
        key: ptv_fill(name, tuple(shape))
        for key, (name, shape, _) in zip(net.state_dict(), reference["state"], strict=True)
    }
    net.load_state_dict(state, assign=True)
    (probe,) = reference["probes"]
    with torch.inference_mode():
        maps = net.eval()["backbone"](clip_of(probe["input"]))
        (logits,) = windows(net, maps, probe["head_pool_kernel"]).unbind(1)
    assert_same(maps[0], probe["res5"])
    assert_same(logits, {"shape": probe["logits_shape"], "values": probe["logits"]})
