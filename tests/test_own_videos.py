"""The commands of docs/own_videos.md, run in turn on twelve generated videos."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from video_files import pictures, write_frames, write_video

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/own_videos.md").read_text()
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
    if line
]
SMALL = (
    "NUM_GPUS 0 DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40] "
    "RESNET.STAGE_BLOCKS [1,1,1,1] RESNET.WIDTH_PER_GROUP 8 SOLVER.MAX_EPOCH 1 "
    "SOLVER.WARMUP_EPOCHS 0 TEST.NUM_ENSEMBLE_VIEWS 2 TRAIN.EVAL_VIEWS 1 "
    "DATA_LOADER.NUM_WORKERS 0 BN.NUM_BATCHES_PRECISE 1 TRAIN.BATCH_SIZE"
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = tmp_path_factory.mktemp("own")
    for name in ("configs", "tools", "cmvl"):
        (desk / name).symlink_to(ROOT / name)
    for name in ("pour water", "stir"):
        (desk / "my_videos" / name).mkdir(parents=True)
        for i in range(5):
            write_video(desk / "my_videos" / name / f"my clip {i}.mp4", pictures(70, seed=i))
    write_frames(desk / "my_videos" / "stir" / "frames", 70)
    (desk / "my_videos" / "stir" / "empty.mp4").touch()
    return desk


def test_page_has_commands():
    tools = [line.split()[1] for line in LINES]
    assert tools == ["tools/prepare_data.py", "tools/check_data.py"] + 2 * ["tools/run_net.py"]


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.split()[1:4]))
def test_command(line, desk):
    extra = {"tools/check_data.py": "--workers 0"}.get(line.split()[1], "")
    command = line.replace("--cfg", f"{extra} --cfg", 1)
    if "run_net" in line:
        command += f" {SMALL} {10 if '_CM' in line else 4}"
    result = subprocess.run(
        command.replace("python", sys.executable, 1),
        shell=True,
        cwd=desk,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    if "prepare" in line:
        assert "left out, empty file: 1" in result.stdout
        assert json.loads((desk / "my_lists" / "classes.json").read_text()) == {
            "pour water": 0,
            "stir": 1,
        }
    if "_CM" in line:
        assert (desk / "output/my_cm/results/summary.json").exists()
