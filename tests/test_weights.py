"""Weights in, from every format into small nets; what may be missing; weights out."""

import gzip
import hashlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path

import pytest
import torch
from torchvision import models
from torchvision.models.resnet import Bottleneck, ResNet

from cmvl.backbones import build_backbone
from cmvl.backbones.torchvision import FAMILIES
from cmvl.checkpoint import convert, load_weights
from cmvl.checkpoint.formats import read_weights
from cmvl.checkpoint.inflate import inflate
from cmvl.checkpoint.names import PTV_ONE_PATHWAY, caffe2_name, find_naming, rename, substitute
from cmvl.config import load_cfg
from cmvl.heads import PooledHead
from cmvl.model import build_model
from cmvl.utils.errors import CheckpointError

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
TINY = (
    "RESNET.STAGE_BLOCKS [1,1,1,1] RESNET.WIDTH_PER_GROUP 8 DATA.TRAIN_CROP_SIZE 32 "
    "MODEL.NUM_CLASSES 5 MODEL.BACKBONE"
)
MEMORY = "MEMORY.INTERACTION AssociativeMemory VIDEO.NUM_CLIPS 2"
START = ("memory.",)
EASY = {"SlowOnly": "SlowOnly", "I3D": "I3D", "SlowFast": "SlowFast DATA.NUM_FRAMES 8"}


def tiny(opts="SlowOnly", filled=True):
    """A small net; `filled`: every tensor, counters too, has values no fresh net has."""
    torch.manual_seed(0)
    model = build_model(load_cfg(None, f"{TINY} {opts}".split()), PooledHead.from_cfg)
    for i, value in enumerate(model.state_dict().values() if filled else ()):
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
        else:
            value.fill_(i)
    return model


def tensors(model, prefix="backbone."):
    """Under PySlowFast's names."""
    return {key.removeprefix(prefix): value for key, value in model.state_dict().items()}


def assert_same(model, other, without=()):
    mine, theirs = model.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        assert key.endswith(tuple(without) or "\0") or torch.equal(value, theirs[key]), key


def saved(path, content, **how):
    torch.save(content, path, **how)
    return path


def refusal(model, path, may_miss=START):
    """The error's text; the model is as it was."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_weights(model, path, may_miss)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert str(path) in str(error.value)
    return str(error.value)


def packed(path, how):
    """The file under a name that says nothing, packed."""
    data = path.read_bytes()
    if "tar" in how:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo("x/weights")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        data = archive.getvalue()
    path.write_bytes(gzip.compress(data) if "gzip" in how else data)
    return path


# Torch files


@pytest.mark.parametrize("opts", EASY.values(), ids=EASY)
def test_pyslowfast(tmp_path, opts):
    model, fresh = tiny(opts), tiny(opts, filled=False)
    content = {"epoch": 3, "model_state": tensors(model), "optimizer_state": {}, "cfg": "A: 1"}
    path = saved(tmp_path / "a.pyth", content)
    n = len(model.state_dict())
    assert load_weights(fresh, path, ()) == f"loaded {n}/{n} tensors from {path} (PySlowFast)"
    assert_same(fresh, model)


@pytest.mark.parametrize("how", ["zip", "legacy", "zip gzip", "legacy gzip", "zip tar gzip"])
def test_content_tells_the_format_not_the_name(tmp_path, how):
    model, fresh = tiny(), tiny(filled=False)
    path = tmp_path / "weights.pkl"
    saved(path, {"model_state": tensors(model)}, _use_new_zipfile_serialization="zip" in how)
    assert "(PySlowFast)" in load_weights(fresh, packed(path, how), ())
    assert_same(fresh, model)


@pytest.mark.parametrize("under", ["model_state", "state_dict", "model", None])
@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model."]
)
def test_where_tensors_may_sit_and_what_wraps_them(tmp_path, under, prefix):
    model, fresh = tiny(), tiny(filled=False)
    state = {f"{prefix}{key}": value for key, value in tensors(model).items()}
    path = saved(tmp_path / "a", {under: state, "epoch": 1} if under else state)
    load_weights(fresh, path, ())
    assert_same(fresh, model)


def test_parts_that_were_compiled(tmp_path):
    model, fresh = tiny(), tiny(filled=False)
    names = {key: key.replace("s2.", "s2._orig_mod.", 1) for key in tensors(model)}
    assert any(key != name for key, name in names.items())
    state = {names[key]: value for key, value in tensors(model).items()}
    load_weights(fresh, saved(tmp_path / "a", state), ())
    assert_same(fresh, model)


def test_our_own(tmp_path):
    model, fresh = tiny(f"SlowOnly {MEMORY}"), tiny(f"SlowOnly {MEMORY}", filled=False)
    path = saved(tmp_path / "a.pyth", {"model_state": model.state_dict()})
    assert "(cmvl)" in load_weights(fresh, path, ())
    assert_same(fresh, model)


# Caffe2


@cache
def caffe2_table():
    rows = json.loads((DATA / "checkpoints" / "c2_names_slowfast_r50.json").read_text())["blobs"]
    return {blob: (name, shape) for blob, name, shape in rows}


def test_every_blob_lands_on_its_tensor():
    opts = "MODEL.BACKBONE SlowFast SLOWFAST.FUSION_KERNEL_SZ 7"
    with torch.device("meta"):
        model = build_model(load_cfg(None, opts.split()), PooledHead.from_cfg)
    own = {key: list(t.shape) for key, t in tensors(model).items()}
    assert {blob: caffe2_name(blob) for blob in caffe2_table()} == {
        blob: name for blob, (name, _) in caffe2_table().items()
    }
    assert dict(caffe2_table().values()) == {
        key: shape for key, shape in own.items() if not key.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize(
    ("blob", "name"),
    [
        ("nonlocal_conv4_20_g_b", "s4.pathway0_nonlocal20.conv_g.bias"),
        ("nonlocal_conv3_1_theta_w", "s3.pathway0_nonlocal1.conv_theta.weight"),
        ("nonlocal_conv3_1_out_w", "s3.pathway0_nonlocal1.conv_out.weight"),
        ("nonlocal_conv3_3_bn_s", "s3.pathway0_nonlocal3.bn.weight"),
        ("nonlocal_conv3_3_bn_riv", "s3.pathway0_nonlocal3.bn.running_var"),
        ("t_res4_22_branch2c_bn_subsample_w", "s4_fuse.conv_f2s.weight"),
        ("t_res4_22_branch2c_bn_subsample_bn_rm", "s4_fuse.bn.running_mean"),
        ("res4_10_branch2c_bn_b", "s4.pathway0_res10.branch2.c_bn.bias"),
        ("conv1_s", "conv1_s"),
        ("res_conv1_bn_w", "res_conv1_bn_w"),
        ("res6_0_branch1_w", "res6_0_branch1_w"),
    ],
)
def test_blobs_of_other_nets(blob, name):
    assert caffe2_name(blob) == name


def test_the_example_pickle():
    weights = read_weights(DATA / "checkpoints" / "c2_py2_example.pkl")
    expected = json.loads((DATA / "checkpoints" / "c2_py2_example.json").read_text())["blobs"]
    assert weights.kind == "Caffe2"
    assert weights.unused == {blob: "solver state" for blob, name, *_ in expected if not name}
    named = {("" if "head" in row[1] else "backbone.") + row[1]: row for row in expected if row[1]}
    assert weights.state.keys() == named.keys()
    for key, (_, _, shape, dtype, digest) in named.items():
        array = weights.state[key].numpy()
        assert (list(array.shape), str(array.dtype)) == (shape, dtype)
        assert hashlib.sha256(array.tobytes()).hexdigest() == digest


def caffe2_file(path, model, protocol=2, **changes):
    blobs = {name: blob for blob, (name, _) in caffe2_table().items()}
    arrays = {blobs[k]: v.numpy() for k, v in tensors(model).items() if k in blobs}
    content = {"blobs": {**arrays, "lr": torch.ones(1).numpy(), **changes}, "cfg": "x"}
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("how", ["", "gzip"])
def test_caffe2(tmp_path, protocol, how):
    opts = EASY["SlowFast"]
    model, fresh = tiny(opts), tiny(opts, filled=False)
    said = load_weights(fresh, packed(caffe2_file(tmp_path / "a", model, protocol), how), ())
    assert "(Caffe2)" in said and "num_batches_tracked (" in said
    assert said.endswith("not used: lr (1 tensor, solver state)")
    assert_same(fresh, model, without=["num_batches_tracked"])


def test_a_caffe2_blob_is_never_repeated_to_fit(tmp_path):
    opts = EASY["SlowFast"]
    bias = torch.arange(2.0)
    path = caffe2_file(tmp_path / "a.pkl", tiny(opts), res_conv1_bn_b=bias.repeat(2).numpy())
    assert "s1.pathway0_stem.bn.bias is (4,) in the file, (8,) in the model" in refusal(
        tiny(opts), path
    )
    wide = tiny(f"{opts} MODEL.NUM_CLASSES 10", filled=False)
    before = wide.head.projection.bias.clone()
    said = load_weights(wide, caffe2_file(tmp_path / "b.pkl", tiny(opts)), START)
    assert "head (2 tensors, 5 classes in the file, 10 here)" in said
    assert torch.equal(wide.head.projection.bias, before)


def test_a_linear_weight_fits_a_pointwise_convolution(tmp_path):
    model = tiny(EASY["SlowFast"])
    weight = tensors(model)["s2.pathway0_res0.branch1.weight"]
    path = caffe2_file(tmp_path / "a.pkl", model, res2_0_branch1_w=weight[:, :, 0, 0, 0].numpy())
    fresh = tiny(EASY["SlowFast"], filled=False)
    load_weights(fresh, path, ())
    assert_same(fresh, model, without=["num_batches_tracked"])


# pytorchvideo and torchvision


def test_pytorchvideo_r2plus1d(tmp_path):
    reference = json.loads((DATA / "models" / "PTV_R2PLUS1D_16x2_R50.json").read_text())
    theirs = {substitute(PTV_ONE_PATHWAY, name): name for name, *_ in reference["state"]}
    model, fresh = tiny("R2Plus1D"), tiny("R2Plus1D", filled=False)
    state = {theirs[key]: value for key, value in tensors(model).items()}
    path = saved(tmp_path / "R2PLUS1D_16x4_R50.pyth", {"model_state": state})
    assert "(pytorchvideo)" in load_weights(fresh, path, ())
    assert_same(fresh, model)


@pytest.mark.parametrize(
    "pairs",
    [
        {  # Slow
            "blocks.0.conv.weight": "s1.pathway0_stem.conv.weight",
            "blocks.4.res_blocks.2.branch2.conv_b.weight": "s5.pathway0_res2.branch2.b.weight",
            "blocks.4.res_blocks.2.branch2.norm_b.bias": "s5.pathway0_res2.branch2.b_bn.bias",
            "blocks.5.proj.bias": "head.projection.bias",
        },
        {  # I3D
            "blocks.0.norm.weight": "s1.pathway0_stem.bn.weight",
            "blocks.1.res_blocks.0.branch1_conv.weight": "s2.pathway0_res0.branch1.weight",
            "blocks.3.res_blocks.0.branch1_norm.bias": "s3.pathway0_res0.branch1_bn.bias",
            "blocks.5.res_blocks.1.branch2.conv_a.weight": "s5.pathway0_res1.branch2.a.weight",
            "blocks.6.proj.weight": "head.projection.weight",
        },
        {  # SlowFast
            "blocks.0.multipathway_blocks.1.conv.weight": "s1.pathway1_stem.conv.weight",
            "blocks.0.multipathway_fusion.conv_fast_to_slow.weight": "s1_fuse.conv_f2s.weight",
            "blocks.3.multipathway_fusion.norm.running_var": "s4_fuse.bn.running_var",
            "blocks.4.multipathway_blocks.1.res_blocks.0.branch1_norm.weight": (
                "s5.pathway1_res0.branch1_bn.weight"
            ),
            "blocks.6.proj.weight": "head.projection.weight",
        },
    ],
    ids=["Slow", "I3D", "SlowFast"],
)
def test_other_pytorchvideo_names(pairs):
    """Whole nets of pytorchvideo 0.1.5 gave equal features under these rules."""
    assert rename(find_naming(pairs), pairs) == (pairs, [])


@pytest.mark.parametrize("name", FAMILIES)
def test_torchvision_names(name):
    with torch.device("meta"):
        theirs = models.get_model(name).state_dict()
        ours = build_backbone(load_cfg(None, ["MODEL.BACKBONE", f"torchvision/{name}"]))
    names, unused = rename(find_naming(theirs), theirs)
    heads = {k for k in names.values() if k.startswith("head.projection.")}
    assert set(names.values()) - heads == set(ours.state_dict())
    assert len(heads) + len(unused) == 2 and bool(unused) == (name == "mvit_v2_s")


def test_torchvision_video_net(tmp_path):
    """S3D's classifier is a convolution."""
    theirs = models.get_model("s3d", num_classes=5)
    path = saved(tmp_path / "s3d.pth", theirs.state_dict())
    model = tiny("torchvision/s3d", filled=False)
    assert re.match(r"loaded (\d+)/\1 tensors.*\(torchvision\)$", load_weights(model, path, ()))
    assert torch.equal(
        model.head.projection.weight[..., None, None, None], theirs.classifier[1].weight
    )


def test_a_head_that_reads_something_else_is_left_out_aloud(tmp_path):
    state = {
        "backbone.net.pos_encoding.class_token": torch.ones(2),
        "head.projection.weight": torch.ones(5, 3),
        "head.projection.bias": torch.ones(5),
    }
    model = torch.nn.Module()
    for key, value in state.items():
        inner = model
        *parents, last = key.split(".")
        for parent in parents:
            inner.add_module(parent, getattr(inner, parent, torch.nn.Module()))
            inner = getattr(inner, parent)
        inner.register_buffer(last, torch.zeros_like(value))
    theirs = {
        "pos_encoding.class_token": torch.ones(2),
        "head.1.weight": torch.ones(5, 3),
        "head.1.bias": torch.ones(5),
    }
    path = saved(tmp_path / "mvit.pth", theirs)
    assert "head (2 tensors, the file's reads the class token" in load_weights(model, path, START)
    assert model.head.projection.bias.sum() == 0
    assert "missing head.projection.weight" in refusal(model, path, ())


# Image nets


def image_net(opts, classes=1000):
    torch.manual_seed(1)
    net = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=classes)
    for value in net.state_dict().values():
        if value.ndim == 1:
            value.uniform_(0.5, 1.5)
    return net.eval(), tiny(f"{opts} RESNET.WIDTH_PER_GROUP 64", filled=False).eval()


@pytest.mark.parametrize("opts", ["SlowOnly", "I3D"])
def test_an_image_resnet_is_inflated(tmp_path, opts):
    net, model = image_net(opts)
    said = load_weights(model, saved(tmp_path / "r50.pth", net.state_dict()), START)
    count = sum(
        m.weight.ndim == 4 for m in net.modules() if hasattr(m, "stride") and hasattr(m, "weight")
    )
    assert f"(torchvision); inflated {count} kernels from 2D; left at their initial" in said
    assert "head (2 tensors, 1000 classes in the file, 5 here)" in said
    stem = model.backbone.s1.pathway0_stem.conv.weight
    torch.testing.assert_close(stem.sum(2), net.conv1.weight)
    assert torch.equal(stem[:, :, 0], stem[:, :, -1])


def test_an_inflated_net_sees_a_still_video_as_its_image(tmp_path):
    net, model = image_net("SlowOnly", classes=5)
    load_weights(model, saved(tmp_path / "r50.pth", net.state_dict()), START)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        (maps,) = model.backbone(image.unsqueeze(2).repeat(1, 1, 5, 1, 1))
        expected = net.maxpool(net.relu(net.bn1(net.conv1(image))))
        expected = net.layer4(net.layer3(net.layer2(net.layer1(expected))))
    # The middle frame of five is the one that no padding in time has reached.
    torch.testing.assert_close(maps[:, :, 2], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frame", [False, True], ids=["4-D", "one frame"])
def test_an_image_net_with_pyslowfast_names(tmp_path, frame):
    model, fresh = tiny("I3D"), tiny("I3D", filled=False)
    state = {
        key: value.sum(2, keepdim=frame) if value.ndim == 5 else value
        for key, value in tensors(model).items()
    }
    path = saved(tmp_path / "2d.pyth", {"model_state": state, "epoch": 9})
    assert "(PySlowFast); inflated" in load_weights(fresh, path, START)
    for key, value in tensors(fresh).items():
        torch.testing.assert_close(
            value.sum(2, keepdim=frame) if value.ndim == 5 else value, state[key]
        )
    assert "in the file" in refusal(tiny("I3D", filled=False), path, may_miss=())


def test_a_video_net_is_not_inflated(tmp_path):
    path = saved(tmp_path / "slow.pyth", tensors(tiny("SlowOnly")))
    assert "conv.weight is (8, 3, 1, 7, 7) in the file, (8, 3, 5, 7, 7)" in refusal(
        tiny("I3D"), path
    )


def test_inflation_keeps_the_sum_and_refuses_other_shapes():
    kernel = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(inflate(kernel, torch.Size([4, 3, 3, 2, 2])).sum(2), kernel)
    assert inflate(kernel, torch.Size([4, 3, 3, 3, 3])) is None
    assert inflate(kernel, torch.Size([4, 3])) is None
    assert inflate(torch.randn(4, 3, 2, 2, 2), torch.Size([4, 3, 4, 2, 2])) is None


# Sub-batch-norm


def sub_bn(model, keep_bn):
    """Two splits whose aggregate is the model's statistic, as section 4 of the formats says."""
    state = {}
    for key, value in tensors(model).items():
        norm, _, name = key.rpartition(".")
        if name in ("running_mean", "running_var"):
            shift = 0.5 if name == "running_mean" else 0.0
            drop = 0.25 if name == "running_var" else 0.0  # of the means' own spread
            state[f"{norm}.split_bn.{name}"] = torch.cat([value - shift, value + shift]) - drop
            state |= {f"{norm}.bn.{name}": value + 7} if keep_bn else {}
        elif name == "num_batches_tracked":
            state |= {f"{norm}.split_bn.{name}": value, f"{norm}.bn.{name}": value + 1}
        elif norm.endswith("bn"):
            state[key] = value.view(-1, 1, 1, 1)
        else:
            state[key] = value
    return state


@pytest.mark.parametrize("keep_bn", [True, False])
def test_sub_bn(tmp_path, keep_bn):
    model, fresh = tiny("SlowOnly"), tiny("SlowOnly", filled=False)
    path = saved(tmp_path / "a.pyth", {"model_state": sub_bn(model, keep_bn)})
    assert "(PySlowFast with sub-BN)" in load_weights(fresh, path, ())
    for key, value in model.state_dict().items():
        expected = value + 7 if keep_bn and "running_" in key else value
        torch.testing.assert_close(fresh.state_dict()[key], expected, msg=key)


def test_sub_bn_without_its_weight(tmp_path):
    state = sub_bn(tiny(), keep_bn=False)
    del state["s1.pathway0_stem.bn.weight"]
    path = saved(tmp_path / "a.pyth", state)
    assert "split statistics of s1.pathway0_stem.bn need its weight" in refusal(tiny(), path)


# Honesty


def test_stage_two_misses_only_its_memory(tmp_path):
    stage_one, model = tiny(), tiny(f"SlowOnly {MEMORY}", filled=False)
    path = saved(tmp_path / "a.pyth", {"model_state": stage_one.state_dict()})
    given, own = len(stage_one.state_dict()), len(model.state_dict())
    assert load_weights(model, path, START) == (
        f"loaded {given}/{own} tensors from {path} (cmvl); left at their initial values: "
        f"memory ({own - given - 1} tensors, not in the file), "
        "num_batches_tracked (1 tensor, not in the file)"
    )
    assert torch.equal(model.head.projection.weight, stage_one.head.projection.weight)
    assert "missing memory.interactions.0.W_k.weight (64, 256)" in refusal(model, path, ())


def test_a_memory_the_model_has_not_is_left_out_aloud(tmp_path):
    path = saved(tmp_path / "a.pyth", {"model_state": tiny(f"SlowOnly {MEMORY}").state_dict()})
    assert re.search(
        r"not used: memory \(\d+ tensors, not in the model\)", load_weights(tiny(), path, START)
    )
    assert "the model has no memory.interactions.0.W_k.weight" in refusal(tiny(), path, ())


def test_another_class_count_is_skipped_aloud_and_only_for_starting(tmp_path):
    path = saved(tmp_path / "a.pyth", tensors(tiny("SlowOnly MODEL.NUM_CLASSES 9")))
    model = tiny()
    before = model.head.projection.weight.clone()
    said = load_weights(model, path, START)
    assert "head (2 tensors, 9 classes in the file, 5 here)" in said
    assert torch.equal(model.head.projection.weight, before)
    assert "head.projection.weight is (9, 256) in the file, (5, 256)" in refusal(model, path, ())


def test_first_mismatches_are_listed(tmp_path):
    state = tensors(tiny())
    for key in [*state][:6]:
        del state[key]
    state["s1.pathway9_stem.conv.weight"] = torch.zeros(3)
    state["s2.pathway0_res0.branch1.weight"] = torch.zeros(4, 4)
    text = refusal(tiny(), saved(tmp_path / "a.pyth", {"model_state": state}))
    assert text.count("\n  missing ") == 5 and "\n  and 2 more\n" in text
    assert "missing backbone.s1.pathway0_stem.conv.weight (8, 3, 1, 7, 7)" in text
    assert "MODEL.BACKBONE" in text


def test_missing_counters_are_harmless(tmp_path):
    state = {k: v for k, v in tensors(tiny()).items() if "num_batches" not in k}
    model = tiny(filled=False)
    said = load_weights(model, saved(tmp_path / "a.pyth", state), ())
    assert "num_batches_tracked (17 tensors, not in the file)" in said
    assert_same(model, tiny(), without=["num_batches_tracked"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a.weight": torch.ones(2)}, "its names, a.weight ..., are not ours"),
        ({}, "its names, none ..., are not ours"),
        ({"s1.x": torch.ones(2), "lr": 0.1}, "entry 'lr' is a float; expected a dict of tensors"),
        ([torch.ones(2)], "holds a list"),
    ],
)
def test_torch_files_of_other_things(tmp_path, content, told):
    assert told in refusal(tiny(), saved(tmp_path / "a.pyth", content))


def test_two_entries_for_one_tensor(tmp_path):
    one = torch.ones(1).numpy()
    names = ("t_res2_2_branch2c_bn_subsample_w", "t_res2_1_branch2c_bn_subsample_w")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": dict.fromkeys(names, one)}, 2))
    told = refusal(tiny(), tmp_path / "a.pkl")
    assert f"{', '.join(names)} all name s2_fuse.conv_f2s.weight" in told


# Weights out


@pytest.mark.parametrize("opts", EASY.values(), ids=EASY)
def test_there_and_back(tmp_path, opts):
    model, fresh = tiny(opts), tiny(opts, filled=False)
    content = {"model_state": model.state_dict(), "epoch": 4, "cfg": "A: 1\n", "rng_state": {}}
    path, out = saved(tmp_path / "a.pyth", content), tmp_path / "out" / "b.pyth"
    n = len(model.state_dict())
    assert convert(path, out, drop_memory=False) == (
        f"wrote {n}/{n} tensors of {path} (cmvl) to {out} (PySlowFast)"
    )
    written = torch.load(out, weights_only=True)
    assert written.keys() == {"epoch", "model_state", "cfg"}
    assert (written["epoch"], written["cfg"]) == (4, "A: 1\n")
    assert list(written["model_state"]) == list(tensors(model))
    assert "(PySlowFast)" in load_weights(fresh, out, ())
    assert_same(fresh, model)


def test_a_memory_is_dropped_only_when_told(tmp_path):
    model, fresh = tiny(f"SlowOnly {MEMORY}"), tiny(filled=False)
    path, out = saved(tmp_path / "a.pyth", {"model_state": model.state_dict()}), tmp_path / "b"
    with pytest.raises(CheckpointError, match="holds a memory, .*give --drop-memory"):
        convert(path, out, drop_memory=False)
    assert not out.exists()
    assert "; dropped: memory (" in convert(path, out, drop_memory=True)
    load_weights(fresh, out, ())
    assert torch.equal(fresh.head.projection.weight, model.head.projection.weight)


def test_only_nets_that_pyslowfast_has(tmp_path):
    path = saved(tmp_path / "a.pyth", tensors(tiny("R2Plus1D")))
    with pytest.raises(CheckpointError, match=r"no tensor s2.pathway0_res0.branch2.b_t.weight"):
        convert(path, tmp_path / "b.pyth", drop_memory=False)


def test_the_tool(tmp_path):
    path = saved(tmp_path / "a.pyth", {"model_state": tiny().state_dict()})
    line = [sys.executable, str(ROOT / "tools" / "convert_checkpoint.py"), str(path)]
    for returncode, told in ((0, "wrote "), (1, "is there already")):
        result = subprocess.run(
            [*line, str(tmp_path / "b.pyth")],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert result.returncode == returncode, result.stderr
        assert told in result.stdout + result.stderr
