"""Every shipped config loads, builds its model and says how it is run; families keep together."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from cmvl.config import batch_plan, check_training, load_cfg
from cmvl.data import DATASETS
from cmvl.model import build_model
from cmvl.report.activations import IN_BFLOAT16, activations
from cmvl.report.ledger import read_ledger
from cmvl.tasks import find_task

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "configs"
LEDGER = FOLDER / "paper.yaml"
LISTS = {LEDGER, FOLDER / "study.yaml"}  # of configs, are none
CONFIGS = sorted(path for path in FOLDER.rglob("*.yaml") if path not in LISTS)
ABLATIONS = [path for path in CONFIGS if path.parent.name == "ablations"]
OWN = ("demo", "your_data", "SSV2")  # not of the paper
CLIP = "VIDEO.NUM_CLIPS"
# What each word of an ablation's name may change, beside the words that name its base.
WORDS = {
    "nomemory": {"MEMORY.INTERACTION"},
    "avgpool": {"MEMORY.INTERACTION"},
    "residual": {"MEMORY.INFUSION"},
    "frozen": {"MODEL.FREEZE_BACKBONE"},
    "scratch": {"TRAIN.INIT_FROM", "SOLVER.MAX_EPOCH", "SOLVER.WARMUP_EPOCHS"},
    "multiiteration": {"VIDEO.STRATEGY"},
    "slow": set(),
    "r2plus1d": set(),
}


def name_of(path):
    return str(path.relative_to(FOLDER))


def header(path):
    return [line for line in path.read_text().splitlines() if line.startswith("#")]


def leaves(node, prefix=""):
    for name, value in node.items():
        if hasattr(value, "items"):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


@cache
def shapes(path):
    """Of every tensor of a config's model."""
    cfg = load_cfg(path, ["TRAIN.ENABLE", "False"])  # without pretrained weights
    with torch.device("meta"):
        model = build_model(cfg, find_task(cfg.TASK).head)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def backbone(path):
    return {name: shape for name, shape in shapes(path).items() if name.startswith("backbone.")}


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_config_builds_its_model(path):
    assert backbone(path)
    cfg = load_cfg(path)
    assert cfg.TRAIN.DATASET in DATASETS and cfg.TEST.DATASET in DATASETS


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_config_can_be_trained_by_eight_processes(path):
    check_training(load_cfg(path), 8)


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_header_gives_the_command(path):
    command = f"python tools/run_net.py --cfg configs/{name_of(path)}"
    assert any(command in line for line in header(path)), f"no line '# {command} ...'"


@pytest.mark.parametrize("path", [p for p in CONFIGS if p.parent.name not in OWN], ids=name_of)
def test_header_gives_hardware_and_numbers(path):
    text = " ".join(header(path))
    assert "Paper: " in text and "Ours: " in text and "Meant for " in text
    assert "NUM_GPUS:" not in path.read_text(), "the hardware is the user's"


@pytest.mark.parametrize("path", [p for p in CONFIGS if p.stem.endswith("_CM")], ids=name_of)
def test_stage_two_is_its_stage_one_plus_memory(path):
    two, one = load_cfg(path), load_cfg(path.with_name(path.name.replace("_CM", "")))
    assert one.VIDEO.NUM_CLIPS == 1 and one.MEMORY.INTERACTION == "NoMemory"
    assert two.VIDEO.NUM_CLIPS > 1 and two.MEMORY.INTERACTION == "AssociativeMemory"
    # Its 2 videos a GPU are too few for statistics, where there are any.
    assert two.BN.SYNC == any("running_mean" in name for name in shapes(path)) and not one.BN.SYNC
    same = set(one) - {"TRAIN", "VIDEO", "MEMORY", "SOLVER", "BN"}
    assert {group: one[group] for group in same} == {group: two[group] for group in same}
    per_clip = [cfg.SOLVER.BASE_LR / cfg.TRAIN.BATCH_SIZE for cfg in (one, two)]
    assert per_clip[0] == pytest.approx(per_clip[1]) and one.SOLVER.LRS == two.SOLVER.LRS


@pytest.mark.parametrize("path", [p for p in CONFIGS if p.parent.name not in OWN], ids=name_of)
def test_start_is_a_run_of_another_config(path):
    """Its weights file is in the ledger, and the config that makes it has the same backbone."""
    start = load_cfg(path).TRAIN.INIT_FROM
    if not start:
        assert not path.stem.endswith("_CM")
        return
    folder, name = start.split("/")
    weights = read_ledger(LEDGER).weights
    assert folder == "weights" and name in weights
    source = FOLDER / f"{weights[name]}.yaml"
    assert backbone(source) == backbone(path)
    if path.stem.endswith("_CM"):
        assert source == path.with_name(path.name.replace("_CM", ""))


def wanted(word, cfg):
    """The keys that a word of an ablation's name stands for, and whether cfg has its value."""
    if number := re.fullmatch(r"n(\d+)", word):
        return {CLIP}, cfg.VIDEO.NUM_CLIPS == int(number[1])
    if number := re.fullmatch(r"r(\d+)", word):
        return {"MEMORY.REDUCTION"}, cfg.MEMORY.REDUCTION == int(number[1])
    if clip := re.fullmatch(r"(\d+)x(\d+)", word):
        keys = {"DATA.SAMPLING_RATE"} | ({"TRAIN.INIT_FROM"} if cfg.TRAIN.INIT_FROM else set())
        return keys, (cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE) == tuple(map(int, clip.groups()))
    return WORDS[word], True


@pytest.mark.parametrize("path", ABLATIONS, ids=name_of)
def test_an_ablation_changes_what_its_name_says(path):
    cfg = load_cfg(path)
    (base,) = re.findall(r"^_BASE_: (.*)$", path.read_text(), re.M)
    before = dict(leaves(load_cfg(path.parent / base)))
    changed = {key for key, value in leaves(cfg) if value != before[key]}
    said = set()
    for word in path.stem.split("_")[1:]:
        keys, has_value = wanted(word, cfg)
        said |= keys
        assert has_value, f"{word}: not the value of the name"
    if path.stem == "fig3_8x2_n5":
        said.discard(CLIP)  # its base has N = 5 already
    assert changed == said
    assert len(path.read_text().splitlines()) <= 9


@pytest.mark.parametrize("path", [p for p in CONFIGS if "GiB" in p.read_text()], ids=name_of)
def test_memory_of_the_clips_that_are_taken_at_once(path):
    """On one of eight GPUs."""
    cfg = load_cfg(path)
    plan = batch_plan(cfg, 8)
    (said,) = re.findall(r"about (\d+) GiB of activations in bfloat16", path.read_text())
    held = IN_BFLOAT16 * plan.videos * plan.at_once * activations(cfg) / 2**30
    assert float(said) == pytest.approx(held, abs=0.6)


def test_ledger_and_configs_agree():
    """Rows name configs that are there; every stage two and every ablation serves a row."""
    named = {row.config for t in read_ledger(LEDGER).tables.values() for row in t.rows}
    there = {name_of(path).removesuffix(".yaml") for path in CONFIGS}
    assert named - there == {""}  # rows of others' models
    served = {name for name in there if name.endswith("_CM") or name.startswith("ablations/")}
    assert {name for name in served - named if name.split("/")[0] not in OWN} == set()
