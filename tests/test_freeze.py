"""What is frozen stays as it is, to the last bit; the rest learns."""

import copy

import pytest
import torch
from torch import nn

from cmvl.config import load_cfg
from cmvl.engine.freeze import build_frozen, freeze, train_mode
from cmvl.engine.optim import build_optimizer
from cmvl.losses import VideoLoss
from cmvl.utils.errors import ConfigError

from toy import random_clips, toy_model


def step(model, cfg):
    before = copy.deepcopy(model.state_dict())
    train_mode(model.eval())
    optimizer = build_optimizer(cfg, model)
    logits = model(random_clips(2, 3, 3, 4, 16, 16))
    VideoLoss(nn.CrossEntropyLoss(), 1.0)(logits, torch.tensor([0, 1]))["loss"].backward()
    optimizer.step()
    return {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}


@pytest.mark.parametrize("strategy", ["batch_reduction", "multi_iteration"])
def test_frozen_backbone(strategy):
    model, cfg = toy_model(strategy), load_cfg(None, ["MODEL.FREEZE_BACKBONE", "True"])
    said = build_frozen(cfg, model)
    frozen = sum(p.numel() for p in model.backbone.parameters())
    learning = sum(p.numel() for p in model.parameters()) - frozen
    assert said == f"{learning:,} parameters learn, {frozen:,} are frozen"
    changed = step(model, cfg)
    assert not any(k.startswith("backbone.") for k in changed)
    assert "head.projection.weight" in changed
    assert "memory.interactions.0.W_k.weight" in changed


def test_pattern():
    model, cfg = toy_model(), load_cfg(None, ["MODEL.FREEZE", "['backbone.slow*']"])
    build_frozen(cfg, model)
    changed = step(model, cfg)
    assert not any(k.startswith("backbone.slow") for k in changed)
    assert {"backbone.fast.weight", "backbone.fast_bn.running_mean"} <= changed


def test_frozen_norms_of_the_backbone():
    model, cfg = toy_model(), load_cfg(None, ["BN.FROZEN", "True"])
    build_frozen(cfg, model)
    changed = step(model, cfg)
    assert not any(k.startswith("backbone.") and "_bn" in k for k in changed)
    assert "backbone.slow.weight" in changed
    assert "memory.infusions.0.norm.bn.running_mean" in changed


def test_a_pattern_without_match():
    with pytest.raises(ConfigError, match="no parameter's name matches 'backbone.s9'"):
        freeze(toy_model(), ["backbone.s9"])


def test_something_must_learn():
    all_but_backbone = ["MODEL.FREEZE", "['head.*', 'memory.*']"]
    cfg = load_cfg(None, [*all_but_backbone, "MODEL.FREEZE_BACKBONE", "True"])
    with pytest.raises(ConfigError, match="FREEZE_BACKBONE True leaves nothing to learn"):
        build_frozen(cfg, toy_model())


def test_nothing_is_frozen_by_default():
    model = toy_model()
    assert build_frozen(load_cfg(None), model).endswith(", 0 are frozen")
    assert all(p.requires_grad for p in model.parameters())
