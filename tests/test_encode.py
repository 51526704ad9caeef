"""Batch reduction and multi-iteration are one function with two memory bills (Sec. 3.3)."""

import copy

import pytest
import torch

from cmvl.backbones import build_backbone
from cmvl.config import load_cfg
from cmvl.losses import VideoLoss
from cmvl.model import build_model
from cmvl.tasks import find_task

from toy import random_clips, toy_model

SMALL = {
    "SlowOnly": "MODEL.BACKBONE SlowOnly DATA.NUM_FRAMES 4",
    "SlowFast": "MODEL.BACKBONE SlowFast DATA.NUM_FRAMES 8",
}
COMMON = (
    "RESNET.WIDTH_PER_GROUP 16 RESNET.STAGE_BLOCKS [1,1,1,1] RESNET.ZERO_INIT_FINAL_BN False "
    "MODEL.NUM_CLASSES 5 MODEL.DROPOUT_RATE 0.0 MEMORY.INTERACTION AssociativeMemory"
)


def small_model(name, strategy, N):
    opts = f"{SMALL[name]} {COMMON} VIDEO.STRATEGY {strategy} VIDEO.NUM_CLIPS {N}"
    torch.manual_seed(0)
    return build_model(load_cfg(None, opts.split()), find_task("classification").head).double()


def one_step(model, clips, labels):
    torch.manual_seed(7)
    model.train()
    loss = VideoLoss(torch.nn.CrossEntropyLoss(), 1.0)(model(clips), labels)["loss"]
    loss.backward()
    gradients = {k: p.grad for k, p in model.named_parameters()}
    return loss.detach(), gradients, dict(model.named_buffers())


def assert_same(a, b, tolerance=1e-10):
    torch.testing.assert_close(a[0], b[0], rtol=0, atol=tolerance)
    for mine, other in ((a[1], b[1]), (a[2], b[2])):
        assert mine.keys() == other.keys()
        for key in mine:
            torch.testing.assert_close(mine[key], other[key], rtol=0, atol=tolerance, msg=key)


@pytest.mark.parametrize("N", [1, 3, 5])
@pytest.mark.parametrize("name", SMALL)
def test_strategies_agree(name, N):
    """Loss, every gradient, every running statistic."""
    frames = int(SMALL[name].split()[-1])
    clips, labels = random_clips(3, N, 3, frames, 32, 32), torch.tensor([0, 3, 4])
    steps = [
        one_step(small_model(name, strategy, N), clips, labels)
        for strategy in ("batch_reduction", "multi_iteration")
    ]
    assert_same(*steps)
    assert all(g is not None and g.abs().max() > 0 for k, g in steps[0][1].items() if "W_" in k)


def test_dropout_is_replayed_in_the_second_scan():
    """The gradient belongs to the same dropout masks as the loss: a finite difference agrees."""
    model = toy_model("multi_iteration", dropout=0.5)
    clips, labels = random_clips(4, 3, 3, 4, 16, 16), torch.tensor([0, 1, 2, 3])
    loss, gradients, _ = one_step(copy.deepcopy(model), clips, labels)
    direction = {k: torch.randn_like(g) for k, g in gradients.items()}
    slope = sum((gradients[k] * direction[k]).sum() for k in gradients)
    losses = []
    for sign in (1, -1):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for k, p in moved.named_parameters():
                p.add_(direction[k], alpha=sign * 1e-6)
        losses.append(one_step(moved, clips, labels)[0])
    assert ((losses[0] - losses[1]) / 2e-6).item() == pytest.approx(slope.item(), rel=1e-4)


def test_gradient_flows_through_the_memory_into_other_clips():
    """End to end: what clip 0 says depends on clip 1's features, and trains them."""
    model = toy_model("multi_iteration")
    clips = random_clips(2, 2, 3, 4, 16, 16)
    maps = model.eval().features(clips)
    X = [x.flatten(3).transpose(2, 3).detach().requires_grad_() for x in maps]
    X_hat = model.memory.infuse(X, model.memory.pop(model.memory.push(X), X))
    X_hat[0][:, 0].sum().backward()
    assert X[0].grad[:, 1].abs().max() > 0


def test_one_clip_without_memory_is_the_plain_backbone():
    """N = 1 is clip-level training (Sec. 4.2)."""
    opts = f"{SMALL['SlowOnly']} {COMMON} MEMORY.INTERACTION NoMemory".split()
    torch.manual_seed(0)
    model = build_model(load_cfg(None, opts), find_task("classification").head).train()
    torch.manual_seed(0)
    backbone = build_backbone(load_cfg(None, opts)).train()
    clips = random_clips(4, 1, 3, 4, 32, 32)
    (maps,) = backbone(clips[:, 0])
    expected = model.head.projection(maps.mean(dim=(2, 3, 4)))
    torch.testing.assert_close(model(clips)[:, 0], expected)
