"""The commands of docs/distributed.md, run on small videos; its messages are those of the code."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/distributed.md").read_text()
LINES = re.findall(r"^\S.*$", "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.S)), re.M)
SMALL = (
    "DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40] "
    "SOLVER.MAX_EPOCH 1 SOLVER.WARMUP_EPOCHS 0 TRAIN.BATCH_SIZE 20 TEST.NUM_ENSEMBLE_VIEWS 2 "
    "TRAIN.EVAL_VIEWS 1 DATA_LOADER.NUM_WORKERS 0"
)
TINY = "RESNET.DEPTH 18 RESNET.WIDTH_PER_GROUP 8 DATA.TRAIN_CROP_SIZE 32 VIDEO.NUM_CLIPS 2"


@pytest.fixture(scope="module")
def desk(tmp_path_factory, demo_data):
    desk = tmp_path_factory.mktemp("distributed_desk")
    for name in ("configs", "tools"):
        (desk / name).symlink_to(ROOT / name)
    (desk / "demo").mkdir()
    (desk / "demo/data").symlink_to(demo_data)
    return desk


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.split()[:5]))
def test_command(line, desk):
    if "tools/slurm.py" in line:
        pytest.importorskip("submitit")
    words = shlex.split(line)
    module = ["-m", "torch.distributed.run"] if words[0] == "torchrun" else []
    extra = f"{TINY} --steps 1" if "benchmark.py" in line else SMALL
    command = [sys.executable, *module, *words[1:], *extra.split()]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=desk, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    if "OUTPUT_DIR" in line:
        folder = desk / words[words.index("OUTPUT_DIR") + 1]
        assert (folder / "results/summary.json").exists()


@pytest.mark.parametrize("message", re.findall(r"^\| `(.+?)`", PAGE, re.M))
def test_messages_are_the_codes(message):
    """Every piece between numbers, names and dots stands in a string of the package."""
    if message.startswith("checkpoint"):
        return
    source = "\n".join(path.read_text() for path in sorted((ROOT / "cmvl").rglob("*.py")))
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    for piece in re.split(
        r"\d+|\.\.\.|SIGKILL|node0|a/b\.mp4|nan|: rank|\(|MEMORY.NORM batch|,", message
    ):
        assert piece.strip(" :)-") in joined, piece
