"""Every shipped config loads and builds its model."""

from pathlib import Path

import pytest
import torch

from cmvl.config import load_cfg
from cmvl.model import build_model
from cmvl.tasks import find_task

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_config_builds_its_model(path):
    cfg = load_cfg(path)
    with torch.device("meta"):
        model = build_model(cfg, find_task(cfg.TASK).head)
    assert sum(p.numel() for p in model.parameters()) > 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_header_gives_the_command(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    command = f"python tools/run_net.py --cfg configs/{path.relative_to(ROOT / 'configs')}"
    assert any(command in line for line in header), f"no line '# {command} ...'"


@pytest.mark.parametrize(
    "path", [p for p in CONFIGS if p.stem.endswith("_CM")], ids=lambda p: p.stem
)
def test_stage_two_is_its_stage_one_plus_memory(path):
    two, one = load_cfg(path), load_cfg(path.with_name(path.name.replace("_CM", "")))
    assert one.VIDEO.NUM_CLIPS == 1 and one.MEMORY.INTERACTION == "NoMemory"
    assert two.VIDEO.NUM_CLIPS > 1 and two.MEMORY.INTERACTION == "AssociativeMemory"
    for group in ("MODEL", "RESNET", "SLOWFAST", "DATA", "TEST"):
        assert one[group] == two[group]
