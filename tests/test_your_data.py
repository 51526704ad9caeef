"""The commands of docs/your_data.md, run in turn on generated videos, with weights made here."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision import models

from cmvl.config import load_cfg
from cmvl.model import build_model
from cmvl.tasks import find_task

from video_files import pictures, write_frames, write_video

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/your_data.md").read_text()
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
    if line
]
SLOW = "RESNET.STAGE_BLOCKS [1,1,1,1] RESNET.WIDTH_PER_GROUP 8"
SMALL = (
    "DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40] "
    "SOLVER.MAX_EPOCH 1 SOLVER.WARMUP_EPOCHS 0 TEST.NUM_ENSEMBLE_VIEWS 2 TEST.NUM_SPATIAL_CROPS 1 "
    "TRAIN.EVAL_VIEWS 1 DATA_LOADER.NUM_WORKERS 0 BN.NUM_BATCHES_PRECISE 1 "
    "TRAIN.CHECKPOINT_KEEP 1 TRAIN.BATCH_SIZE"
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Eleven videos of two classes, one of them broken; weights as torchvision and PySlowFast
    publish them, with random numbers."""
    desk = tmp_path_factory.mktemp("own")
    for name in ("configs", "tools", "cmvl"):
        (desk / name).symlink_to(ROOT / name)
    for name in ("pour water", "stir"):
        (desk / "my_videos" / name).mkdir(parents=True)
        for i in range(5):
            write_video(desk / "my_videos" / name / f"my, clip {i}.mp4", pictures(70, seed=i))
    write_frames(desk / "my_videos" / "stir" / "frames", 70)
    (desk / "my_videos" / "stir" / "empty.mp4").touch()
    (desk / "my_tags").mkdir()
    (desk / "my_tags" / "classes.txt").write_text("water\nhand\nspoon\n")
    places = [f"{desk}/my_videos/stir/my, clip {i}.mp4" for i in range(5)]
    tags = "".join(f"{place} {i % 3},{(i + 1) % 3}\n" for i, place in enumerate(places))
    for split in ("train", "val", "test"):
        (desk / "my_tags" / f"{split}.csv").write_text(tags)
    url = models.get_model_weights("r3d_18").DEFAULT.url
    hub = desk / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    torch.save(models.get_model("r3d_18").state_dict(), hub / url.rpartition("/")[2])
    cfg = load_cfg(ROOT / "configs/K400/SLOW_8x8.yaml", SLOW.split())
    state = build_model(cfg, find_task(cfg.TASK).head).state_dict()
    (desk / "weights").mkdir()
    names = {key.removeprefix("backbone."): value for key, value in state.items()}
    torch.save({"model_state": names}, desk / "weights" / "SLOW_8x8_R50.pkl")
    return desk


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def small(line):
    """A command of the page, with what makes it end soon."""
    if "check_data" in line:
        return line.replace("--cfg", "--workers 0 --cfg", 1)
    if "predict" in line:
        return f"{line} --device cpu"
    if "run_net" not in line:
        return line
    net = "" if "R3D18" in line else SLOW
    return f"{line} {net} {SMALL} {10 if '_CM' in line else 4}"


def test_page_has_commands():
    tools = [line.split()[1].removeprefix("tools/") for line in LINES]
    first, train = ["prepare_data.py", "check_data.py", "show_clips.py"], "run_net.py"
    assert tools == [*first, *[train] * 3, "report.py", "predict.py", *[train] * 2]


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.split()[1:4]))
def test_command(line, desk):
    environment = {"PYTHONPATH": str(ROOT), "TORCH_HOME": desk / "torch"}
    result = subprocess.run(
        small(line).replace("python", sys.executable, 1),
        shell=True,
        cwd=desk,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    if "prepare" in line:
        assert "left out, empty file: 1" in result.stdout and "2 classes" in result.stdout
        assert json.loads((desk / "my_lists" / "classes.json").read_text()) == {
            "pour water": 0,
            "stir": 1,
        }
    if "output/my_cm TRAIN" in line:
        assert "left at their initial values: memory" in result.stdout
        assert (desk / "output/my_cm/results/summary.json").exists()
    if "multi_label" in line:
        out = desk / line.split("OUTPUT_DIR ")[1].split()[0] / "results"
        assert 0 <= json.loads((out / "summary.json").read_text())["metrics"]["mAP"] <= 100
        assert {row["name"] for row in rows(out / "per_class.csv")} >= {"water", "hand", "spoon"}
    if "SLOW_8x8" in line:
        assert "400 classes in the file, 2 here" in result.stdout
    if "predict" in line:
        said = {desk / row["path"]: row for row in rows(desk / "predictions.csv")}
        tested = rows(desk / "output/my_cm/results/predictions.csv")
        (same,) = [row for row in tested if Path(row["path"]) in said]  # of its class, one video
        again = said[Path(same["path"])]
        assert again["top1"] == same["prediction"]
        assert float(again["score1"]) == pytest.approx(float(same["score"]), abs=1e-4)
