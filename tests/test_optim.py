"""Learning rates against recorded schedules; which parameters decay."""

import csv
import json
from pathlib import Path

import pytest
from torch import nn

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
    assert others["nesterov"] and others["momentum"] == 0.9
    assert set_lr(optimizer, 0.3) == 0.3
    assert {g["lr"] for g in optimizer.param_groups} == {0.3}


def test_a_model_without_norms_has_one_group():
    optimizer = build_optimizer(load_cfg(None), nn.Linear(2, 2))
    assert len(optimizer.param_groups) == 1
