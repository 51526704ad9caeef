"""Batch reduction and multi-iteration are one function with two memory bills (Sec. 3.3)."""

import copy

import pytest
import torch
from torch import nn

from cmvl.backbones import build_backbone
from cmvl.config import load_cfg
from cmvl.encode import batch_reduction, build_encode, iterations, multi_iteration
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


@pytest.mark.parametrize(("N", "at_once"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2), (5, 5), (2, 3)])
@pytest.mark.parametrize("name", SMALL)
def test_strategies_agree(name, N, at_once):
    """Loss, every gradient, every running statistic."""
    frames = int(SMALL[name].split()[-1])
    clips, labels = random_clips(3, N, 3, frames, 32, 32), torch.tensor([0, 3, 4])
    multi = f"multi_iteration VIDEO.CLIPS_AT_ONCE {at_once}"
    steps = [
        one_step(small_model(name, strategy, N), clips, labels)
        for strategy in ("batch_reduction", multi)
    ]
    assert_same(*steps)
    assert all(g is not None and g.abs().max() > 0 for k, g in steps[0][1].items() if "W_" in k)


class Told(torch.autograd.Function):
    """Nothing is done; `events` hear when a backward pass comes back to here."""

    @staticmethod
    def forward(ctx, x, events):
        ctx.events = events
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.events.append("back")
        return gradient, None


class Scanned(nn.Module):
    """A backbone that tells how many clips a pass takes, and when that is differentiated."""

    def __init__(self):
        super().__init__()
        self.weight, self.events = nn.Parameter(torch.ones(1, dtype=torch.float64)), []

    def forward(self, clips):
        self.events.append(len(clips))
        return [Told.apply(clips * self.weight, self.events).exp()]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("at_once", "events"),
    [
        (1, [1, 1, 1, "back", 1, "back", 1, "back"]),
        (2, [1, 2, "back", 1, "back"]),  # the smaller part is the one that is run again
        (3, [3, "back"]),
    ],
)
def test_the_last_iteration_is_not_run_again(at_once, events, together):
    """And is done with before another's activations come back: the peak is of `at_once` clips."""
    f, clips = Scanned(), torch.rand(1, 3, 3, 1, 2, 2, dtype=torch.float64)
    (X,) = multi_iteration(f, clips, together, at_once)
    X.square().sum().backward()
    assert f.events == events
    g = Scanned()
    (expected,) = batch_reduction(g, clips)
    expected.square().sum().backward()
    assert torch.equal(X, expected)
    torch.testing.assert_close(f.weight.grad, g.weight.grad, rtol=1e-12, atol=0)


@pytest.mark.parametrize("N", range(1, 10))
@pytest.mark.parametrize("at_once", range(1, 11))
def test_iterations(N, at_once):
    parts = iterations(N, at_once)
    assert sum(parts) == N and max(parts) <= at_once and parts[-1] == max(parts)
    assert len(parts) == -(-N // at_once)


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


@pytest.mark.parametrize(
    ("options", "passes"),
    [("batch_reduction", [5]), ("multi_iteration", [1] * 5)]
    + [("multi_iteration VIDEO.CLIPS_AT_ONCE 2", [1, 2, 2])],
)
def test_clips_of_each_pass(options, passes):
    encode = build_encode(load_cfg(None, ["VIDEO.STRATEGY", *options.split()]))
    net, seen = nn.Identity(), []
    net.register_forward_hook(lambda _, x, y: seen.append(len(x[0])) or [y])
    encode(net, torch.zeros(1, 5, 3, 1, 2, 2))
    assert seen == passes
