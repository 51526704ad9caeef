"""Learning rates against recorded schedules; which parameters decay."""

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from cmvl.config import load_cfg
from cmvl.engine.optim import build_optimizer, build_schedule, set_lr
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d

DATA = Path(__file__).parent / "data" / "lr"
SETTINGS = json.loads((DATA / "solver_settings.json").read_text())


def solver_cfg(settings):
    return load_cfg(None, [x for k, v in settings.items() for x in (f"SOLVER.{k}", str(v))])


@pytest.mark.parametrize("name", SETTINGS)
def test_schedules_match_the_recorded_ones(name):
    lr_at = build_schedule(solver_cfg(SETTINGS[name]["solver"]), scale=1.0)
    with (DATA / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 40
    for row in rows:
        assert lr_at(float(row["epoch"])) == pytest.approx(float(row["lr"]), rel=1e-9, abs=1e-15)


def test_scale_multiplies_the_whole_schedule():
    cfg = solver_cfg(SETTINGS["kinetics_slowfast_8x8_r50"]["solver"])
    whole, fifth = build_schedule(cfg, 1.0), build_schedule(cfg, 0.2)
    assert all(fifth(e) == pytest.approx(0.2 * whole(e)) for e in (0, 10.5, 34, 100, 195.9))


def test_normalisation_does_not_decay():
    model = nn.Sequential(nn.Conv3d(3, 4, 1), ClipwiseBatchNorm3d(4), nn.LayerNorm(4))
    optimizer = build_optimizer(load_cfg(None, ["SOLVER.WEIGHT_DECAY", "0.01"]), model)
    norms, others = optimizer.param_groups
    assert {id(p) for p in norms["params"]} == {id(p) for m in model[1:] for p in m.parameters()}
    assert {id(p) for p in others["params"]} == {id(p) for p in model[0].parameters()}
    assert (norms["weight_decay"], others["weight_decay"]) == (0.0, 0.01)
    assert type(optimizer) is SGD and others["nesterov"] and others["momentum"] == 0.9
    set_lr(optimizer, 0.3)
    assert {g["lr"] for g in optimizer.param_groups} == {0.3}


def test_a_model_without_norms_has_one_group():
    optimizer = build_optimizer(load_cfg(None), nn.Linear(2, 2))
    assert len(optimizer.param_groups) == 1


def test_a_backbone_may_learn_at_a_rate_of_its_own():
    model = nn.ModuleDict(
        {name: nn.Sequential(nn.Conv3d(3, 3, 1), nn.LayerNorm(3)) for name in ("backbone", "head")}
    )
    optimizer = build_optimizer(load_cfg(None, ["SOLVER.BACKBONE_LR_MULT", "0.1"]), model)
    set_lr(optimizer, 0.5)
    of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        group = of[id(parameter)]
        assert group["lr"] == pytest.approx(0.05 if name.startswith("backbone.") else 0.5)
        assert group["weight_decay"] == (0 if ".1." in name else 1e-4)
    assert len(build_optimizer(load_cfg(None), model).param_groups) == 2


def test_a_step_of_adamw():
    """Loshchilov and Hutter, Algorithm 2: the decay is no part of the gradient."""
    opts = "OPTIMIZING_METHOD adamw BETAS [0.8,0.99] WEIGHT_DECAY 0.1 BASE_LR 0.5".split()
    cfg = load_cfg(None, [f"SOLVER.{x}" if x.isupper() else x for x in opts])
    model = nn.Linear(2, 1, bias=False).double()
    before, gradient = model.weight.detach().clone(), torch.tensor([[3.0, -0.25]]).double()
    optimizer = build_optimizer(cfg, model)
    assert type(optimizer) is AdamW and optimizer.param_groups[0]["betas"] == (0.8, 0.99)
    model.weight.grad = gradient
    set_lr(optimizer, 0.01)
    optimizer.step()
    # Of a first step the corrected moments are the gradient and its square.
    expected = before - 0.01 * 0.1 * before - 0.01 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(model.weight.detach(), expected, rtol=0, atol=1e-12)


def test_vectors_decay_unless_told_otherwise():
    model = nn.ModuleDict({"w": nn.Linear(2, 3), "norm": nn.LayerNorm(3)})
    model.register_parameter("scale", nn.Parameter(torch.ones(3)))
    decays = {}
    for apart in (False, True):
        opts = ["BN.WEIGHT_DECAY", "0.3", "SOLVER.ZERO_WD_1D_PARAM", str(apart)]
        groups = build_optimizer(load_cfg(None, opts), model).param_groups
        of = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        decays[apart] = {name: of[id(p)] for name, p in model.named_parameters()}
    norm = {"norm.weight": 0.3, "norm.bias": 0.3}
    assert decays[False] == norm | {"scale": 1e-4, "w.weight": 1e-4, "w.bias": 1e-4}
    assert decays[True] == norm | {"scale": 0.0, "w.weight": 1e-4, "w.bias": 0.0}
