"""Tiny Charades and Something-Something in their official layouts, from preparation to results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from video_files import pictures, write_frames

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(
    path
    for name in ("CHARADES", "SSV1", "SSV2")
    for path in (ROOT / "configs" / name).glob("*.yaml")
)
# Paths and sizes; nothing of what makes the recipe.
SIZES = (
    (
        "NUM_GPUS 0 TRAIN.INIT_FROM '' DATA.NUM_FRAMES 8 DATA.TRAIN_CROP_SIZE 32 "
        "DATA.TRAIN_JITTER_SCALES [32,40] DATA.TEST_CROP_SIZE 32 RESNET.STAGE_BLOCKS [1,1,1,1] "
        "RESNET.WIDTH_PER_GROUP 8 TRAIN.BATCH_SIZE 10 VIDEO.NUM_CLIPS 1 SOLVER.MAX_EPOCH 1 "
        "SOLVER.WARMUP_EPOCHS 0.5 TEST.NUM_ENSEMBLE_VIEWS 2 TRAIN.EVAL_VIEWS 1 LOG_PERIOD 1 "
        "DATA_LOADER.NUM_WORKERS 1 BN.NUM_BATCHES_PRECISE 1"
    )
    .replace("''", "")
    .split(" ")
)
HEADER = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
ROW = '{id},S1,Kitchen,6,7,Yes,"A person, who ...",door,"She; he",{actions},2.00\n'


def run(name, *args):
    command = [sys.executable, str(ROOT / "tools" / name), *map(str, args)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def charades(tmp_path_factory):
    """Lists made by the tool of 11 + 2 videos of 48 frames, one of them not on disk."""
    root = tmp_path_factory.mktemp("charades")
    videos = {"train": [f"T{i:04d}" for i in range(12)], "test": ["V0000", "V0001"]}
    for split, names in videos.items():
        rows = [
            ROW.format(id=name, actions=f"c{i:03d} 0.00 1.00;c{156 - i:03d} 0.80 2.00")
            for i, name in enumerate(names)
        ]
        (root / f"Charades_v1_{split}.csv").write_text(HEADER + "".join(rows))
        for i, name in enumerate(names[: 11 if split == "train" else 2]):
            frames = pictures(48, seed=i)
            write_frames(root / "Charades_v1_rgb" / name, frames, f"{name}-%06d.jpg")
    names = "".join(f"c{k:03d} Doing number {k}\n" for k in range(157))
    (root / "Charades_v1_classes.txt").write_text(names)
    places = ("--annotations", root, "--videos", root / "Charades_v1_rgb", "--out", root / "lists")
    said = run("prepare_data.py", "charades", *places)
    assert "train.csv: 11 of 12 videos" in said and "Charades_v1_train.csv:13 T0011" in said
    return root / "lists"


@pytest.fixture(scope="module")
def ssv1(tmp_path_factory):
    root = tmp_path_factory.mktemp("ssv1")
    name = "something-something-v1-{}.csv"
    templates = [f"Doing number {k} to something" for k in range(174)]
    (root / name.format("labels")).write_text("\n".join(templates) + "\n")
    for split, videos in (("train", range(10, 20)), ("validation", range(20, 22))):
        rows = [f"{video};{templates[video * 7]}\n" for video in videos]
        (root / name.format(split)).write_text("".join(rows))
        for video in videos:
            folder = root / "20bn-something-something-v1" / str(video)
            write_frames(folder, pictures(30, seed=video))
    places = ("--annotations", root, "--videos", root / "20bn-something-something-v1")
    assert "train.csv: 10 of 10 videos" in run(
        "prepare_data.py", "ssv1", *places, "--out", root / "lists"
    )
    return root / "lists"


def sizes_for(config):
    opts = list(SIZES)
    if config.stem.endswith("_CM"):
        opts[opts.index("VIDEO.NUM_CLIPS") + 1] = "3"
    if "_NL" in config.stem:  # the blocks that a non-local one follows are not there
        opts += ["NONLOCAL.LOCATION", "[[],[0],[],[]]"]
    if "steps" in config.read_text() or "_BASE_" in config.read_text():
        opts += ["SOLVER.STEPS", "[0]", "SOLVER.LRS", "[1]"]
    return opts


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_configs_train_and_test(config, charades, ssv1, tmp_path):
    data = charades if config.parent.name == "CHARADES" else ssv1
    said = run(
        "run_net.py", "--cfg", config, "DATA.PATH_TO_DATA_DIR", data, "OUTPUT_DIR", tmp_path,
        *sizes_for(config),
    )  # fmt: skip
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    metric = "mAP" if config.parent.name == "CHARADES" else "top1"
    assert 0 <= summary["metrics"][metric] <= 100 and summary["metrics"]["videos"] == 2
    assert not summary["skipped"] and "replaced in training" not in said


def test_check_data_on_prepared_lists(charades):
    config = ROOT / "configs/CHARADES/SLOWFAST_16x8.yaml"
    said = run(
        "check_data.py", "--cfg", config, "--workers", 0, "--opts", "DATA.PATH_TO_DATA_DIR",
        charades, "DATA.NUM_FRAMES", 32,
    )  # fmt: skip
    assert said.count("2 videos, 2 opened; missing 0, broken 0, short 2") == 2
    assert "135 of 157 classes have none" in said and "Doing number" in said
