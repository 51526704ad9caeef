"""The code of docs/extending.md, run as a reader would: three new files, then a training."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/extending.md").read_text()
BLOCKS = re.findall(
    r"Save as `(.*?)` and add `(\w+)` to .*?`(.*?)`:\n\n```python\n(.*?)```", PAGE, re.S
)
SMALL = (
    "NUM_GPUS 0 DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40] "
    "RESNET.WIDTH_PER_GROUP 8 MODEL.NUM_CLASSES 2 SOLVER.MAX_EPOCH 1 SOLVER.WARMUP_EPOCHS 0 "
    "TEST.NUM_ENSEMBLE_VIEWS 2 "
    "DATA_LOADER.NUM_WORKERS 0 VIDEO.NUM_CLIPS 2 TRAIN.BATCH_SIZE 4"
)


@pytest.fixture(scope="module")
def fork(tmp_path_factory):
    """A copy of the package with the page's three files put in and imported."""
    fork = tmp_path_factory.mktemp("fork")
    for name in ("cmvl", "tools", "configs"):
        shutil.copytree(ROOT / name, fork / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, name, init, code in BLOCKS:
        (fork / path).write_text(code)
        text = (fork / init).read_text()
        added = re.sub(
            r"^(from cmvl\.\w+ import )(?=[a-z])", rf"\1{name}, ", text, count=1, flags=re.M
        )
        assert added != text, f"{init} has no import line of modules"
        (fork / init).write_text(added)
    return fork


@pytest.fixture(scope="module")
def named_videos(tmp_path_factory, demo_data):
    folder = tmp_path_factory.mktemp("named")
    for split in ("train", "val", "test"):
        (folder / split).mkdir()
        for line in (demo_data / "relation" / f"{split}.csv").read_text().splitlines():
            path, label = line.rsplit(" ", 1)
            (folder / split / f"{label}_{Path(path).name}").symlink_to(
                demo_data / "relation" / path
            )
    return folder


def test_the_page_has_all_three():
    assert [Path(path).parent.name for path, *_ in BLOCKS] == ["backbones", "memory", "data"]


def test_all_three_train_together(fork, named_videos, tmp_path):
    options = (
        "MODEL.BACKBONE Tiny MEMORY.INTERACTION ScaledMemory TRAIN.DATASET ByName "
        f"TEST.DATASET ByName DATA.PATH_TO_DATA_DIR {named_videos} OUTPUT_DIR {tmp_path}"
    )
    config = fork / "configs/K400/SLOW_8x8.yaml"
    command = [sys.executable, str(fork / "tools/run_net.py"), "--cfg", str(config)]
    result = subprocess.run(
        [*command, *SMALL.split(), *options.split()],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(fork)},
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "results/summary.json").exists()


def test_the_new_backbone_is_under_the_contract(fork):
    """The contract tests pick it up from the registry."""
    shutil.copytree(ROOT / "tests", fork / "tests", dirs_exist_ok=True)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/test_backbones.py", "-k", "Tiny", "--noconftest"],
        cwd=fork,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(fork)},
        timeout=300,
    )
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout
