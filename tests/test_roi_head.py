"""The head and the loss of boxes: by hand, and against PySlowFast's AVA model."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from test_reference_models import assert_same, cfg_of, clip_of, load, state_of
from torch import nn

from cmvl.backbones import build_backbone
from cmvl.heads import RoIHead
from cmvl.losses import BoxLoss

AVA = "AVA_SLOWFAST_32x2_R50_SHORT"


def net_of(config):
    cfg = cfg_of(config)
    cfg.DETECTION.ALIGNED = config["DETECTION"]["ALIGNED"]
    with torch.device("meta"):
        backbone = build_backbone(cfg)
        head = RoIHead.from_cfg(cfg, backbone.dims, backbone.stride)
    net = nn.ModuleDict({"backbone": backbone, "head": head})
    return net, state_of(net)


@pytest.fixture(scope="module")
def net():
    net, state = net_of(load(f"{AVA}.json")["config"])
    net.load_state_dict(state, assign=True)
    return net.eval()


def score(net, clip, boxes):
    return net["head"]([x.unsqueeze(1) for x in net["backbone"](clip)], boxes)


@pytest.mark.parametrize("name", ["p64", "p96x128"])
def test_logits_of_the_reference(net, name):
    probe = next(p for p in load(f"{AVA}.json")["probes"] if p["name"] == name)
    with torch.inference_mode():
        logits = score(net, clip_of(probe["input"]), torch.tensor(probe["boxes"]))
    assert_same(logits, probe["logits"])
    assert_same(logits.sigmoid(), probe["output"])


def test_train_step_of_the_reference():
    """Its cross-entropy of sigmoid outputs is ours of logits; float64."""
    step = load(f"{AVA}.train_step.json")
    net, state = net_of(load(f"{AVA}.json")["config"])
    net.load_state_dict({n: t.clone() for n, t in state.items()}, assign=True)
    net.double().train()
    net["head"].dropout.p = 0.0
    boxes = torch.tensor(step["boxes"], dtype=torch.float64)
    labels = torch.zeros(step["output"]["shape"], dtype=torch.float64)
    for row, classes in enumerate(step["positive_classes_per_box"]):
        labels[row, classes] = 1
    logits = score(net, clip_of(step["input"]).double(), boxes)
    loss = BoxLoss()(logits, labels)["loss"]
    loss.backward()
    near = partial(pytest.approx, rel=1e-7)
    assert loss.item() == near(step["loss"])
    gradients = {n.removeprefix("backbone."): p.grad for n, p in net.named_parameters()}
    total = sum(g.square().sum() for g in gradients.values()).sqrt().item()
    assert total == near(step["gradient_l2_all_parameters"])
    for name, want in step["gradients"].items():
        if not want.get("structurally_zero"):
            assert gradients[name].norm().item() == near(want["l2"])


def test_box_by_hand():
    """A box of whole cells: the maximum over it of the mean over time."""
    torch.manual_seed(0)
    head = RoIHead((2, 3), 4, stride=16, resolution=2).double().eval()
    maps = [torch.randn(1, 2, d, t, 6, 6).double() for d, t in ((2, 4), (3, 8))]
    boxes = torch.tensor([[1, 16, 32, 48, 64], [0, 0, 0, 0, 0]]).double()
    # Two cells per side, one sample each, at the middle of a position.
    want = torch.cat([m[0, 1].mean(1)[:, 2:4, 1:3].amax((1, 2)) for m in maps])
    got = torch.cat([head._pool(m, boxes) for m in maps], dim=-1)
    torch.testing.assert_close(got[0], want)
    assert (got[1] == 0).all()
    torch.testing.assert_close(head(maps, boxes)[0], head.projection(want))
    torch.testing.assert_close(head(maps, boxes)[1], head.projection.bias)


def test_box_loss():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, requires_grad=True)
    labels = torch.randint(0, 2, (3, 4)).float()
    scores = logits.sigmoid()
    want = -(labels * scores.log() + (1 - labels) * (1 - scores).log()).mean()
    torch.testing.assert_close(BoxLoss()(logits, labels)["loss"], want)
    assert BoxLoss()(logits, labels)["loss"] == F.binary_cross_entropy_with_logits(logits, labels)
    none = BoxLoss()(logits[:0], labels[:0])["loss"]
    none.backward()
    assert none == 0 and (logits.grad == 0).all()


def test_no_boxes_at_all():
    """As a step is whose crops lost every box: a loss of 0, and gradients of 0 everywhere."""
    head = RoIHead((2, 3), 4, stride=16)
    maps = [torch.randn(1, 2, d, 4, 3, 3, requires_grad=True) for d in (2, 3)]
    logits = head(maps, torch.empty(0, 5))
    assert logits.shape == (0, 4)
    BoxLoss()(logits, torch.empty(0, 4))["loss"].backward()
    assert all((p.grad == 0).all() for p in [*head.parameters(), *maps])
