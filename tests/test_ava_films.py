"""The generated films in AVA's format: AVA's configs read them, only a memory tells the actions."""

import json
import subprocess
import sys

import numpy as np
import pytest
from test_configs import FOLDER, name_of
from test_run_net import ROOT, run_net

from cmvl.config import load_cfg
from cmvl.data import build_dataset
from cmvl.data.check_ava import build_ava_report
from cmvl.data.demo.plan import COLOURS
from cmvl.engine.test import test as run_test
from cmvl.engine.train import train as run_training

CM = FOLDER / "demo/AVA_CM.yaml"
AVA = sorted((FOLDER / "AVA").glob("*.yaml"))
TRAIN, VAL, KEYFRAMES = 4, 2, 24  # films, and key frames with boxes in each


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    command = [sys.executable, str(ROOT / "tools/make_demo_data.py"), "--ava", str(folder)]
    command += ["--train", str(TRAIN), "--val", str(VAL), "--workers", "1"]
    assert subprocess.run(command, capture_output=True, text=True).stdout
    return folder


@pytest.mark.parametrize("path", AVA, ids=name_of)
def test_avas_own_configs_read_them(path, films):
    cfg = load_cfg(path, ["DATA.PATH_TO_DATA_DIR", str(films)])
    train, test = build_dataset(cfg, "train"), build_dataset(cfg, "test")
    assert len(train) == TRAIN * KEYFRAMES and train.class_names[:2] == ["red", "green"]
    shown = [len(test.table.boxes(v, second)) for v in range(VAL) for second in range(900, 946)]
    assert sum(shown) == VAL * KEYFRAMES * 2 and max(shown) == 2  # low scores are left out
    for split in ("train", "test"):
        report = build_ava_report(cfg, split, 0)
        assert report.unusable == 0 and "nothing amiss" in str(report)


def light(clip):
    """The colour of the frame that is coloured most, without its grey: (3,)."""
    means = clip.float().mean(dim=(2, 3)).T.numpy()  # (T, 3)
    chroma = means - means.mean(axis=1, keepdims=True)
    return chroma[np.linalg.norm(chroma, axis=1).argmax()]


def test_no_clip_at_a_key_frame_shows_the_light(films):
    opts = ["DATA.PATH_TO_DATA_DIR", films, "DATA.TRAIN_CROP_SIZE", 32]
    opts += ["DATA.TRAIN_JITTER_SCALES", "[32,32]"]
    cfg = load_cfg(FOLDER / "AVA/SLOWFAST_4x16_V22_CM.yaml", list(map(str, opts)))
    train, seen = build_dataset(cfg, "train"), set()
    tints = np.array(list(COLOURS.values())) - np.mean(list(COLOURS.values()), axis=1)[:, None]
    for index in range(KEYFRAMES):
        item = train[index]
        lights = np.array([light(clip) for clip in item.clips])
        strength = np.linalg.norm(lights, axis=1)
        assert strength[4] < 15 and 1 <= (strength > 30).sum() <= 3
        likeness = tints @ lights[strength > 30].T / np.linalg.norm(tints, axis=1)[:, None]
        actions = set(item.label[item.boxes[:, 0] == 4].argmax(dim=1).tolist())
        assert set(likeness.argmax(axis=0).tolist()) == actions
        seen |= actions
    assert seen == {0, 1, 2, 3}


SHORT = (
    "MODEL.BACKBONE SlowOnly DATA.NUM_FRAMES 2 DATA.SAMPLING_RATE 32 SOLVER.MAX_EPOCH 10 "
    "DATA_LOADER.NUM_WORKERS 0"
).split()


def test_memory_tells_what_no_clip_shows(films, tmp_path):
    reached = {}
    for memory in ("AssociativeMemory", "NoMemory"):
        own = ["MEMORY.INTERACTION", memory, "OUTPUT_DIR", str(tmp_path / memory)]
        cfg = load_cfg(CM, ["DATA.PATH_TO_DATA_DIR", str(films), *SHORT, *own])
        run_training(cfg)
        reached[memory] = run_test(cfg).metrics["mAP"]
    assert reached["AssociativeMemory"] > 80 > 60 > reached["NoMemory"]


SIZES = (
    "DATA.NUM_FRAMES 8 DATA.SAMPLING_RATE 8 DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 "
    "DATA.TRAIN_JITTER_SCALES [32,40] RESNET.STAGE_BLOCKS [1,1,1,1] RESNET.WIDTH_PER_GROUP 8 "
    "NUM_GPUS 0 DATA_LOADER.NUM_WORKERS 0"
).split()


LEFT_OUT = [f"train{i:02d}" for i in range(1, TRAIN)] + ["val01"]


def test_avas_own_config_trains_and_tests_on_them(films, tmp_path):
    """With paths and sizes of one's own, and no others."""
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    for path in films.rglob("annotations/**/*.*"):
        kept = [x for x in path.read_text().splitlines() if x.partition(",")[0] not in LEFT_OUT]
        place = annotations / path.relative_to(films / "annotations")
        place.parent.mkdir(exist_ok=True)
        place.write_text("\n".join(kept) + "\n")
    paths = ["DATA.PATH_TO_DATA_DIR", tmp_path, "AVA.FRAME_DIR", films / "frames"]
    paths += ["TRAIN.INIT_FROM", "", "OUTPUT_DIR", tmp_path / "out"]
    result = run_net("--cfg", FOLDER / "AVA/SLOWFAST_4x16_V21_CM.yaml", *paths, *SIZES)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "out/results/summary.json").read_text())
    assert summary["metrics"]["classes"] == 4
    assert summary["metrics"]["keyframes"] == KEYFRAMES
    assert "ground truth: 46 actions" in result.stdout  # without the excluded key frame's two
