"""Every command in a ```bash block of these pages is run, on small data where it can be."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = (  # in this order: later ones use what earlier ones left
    "README.md",
    "INSTALL.md",
    "GETTING_STARTED.md",
    "docs/demo.md",
    "docs/logs.md",
    "docs/export.md",
)
SMALL = (
    "DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40] "
    "SOLVER.MAX_EPOCH 1 SOLVER.WARMUP_EPOCHS 0 TEST.NUM_ENSEMBLE_VIEWS 2 "
    "TRAIN.EVAL_VIEWS 1 DATA_LOADER.NUM_WORKERS 0"
)
TINY = "RESNET.DEPTH 18 RESNET.WIDTH_PER_GROUP 8 DATA.TRAIN_CROP_SIZE 32"
# What each documented command is given so that it ends soon; the command itself stays whole.
SHORTER = {
    "tools/make_demo_data.py": "--train 12 --val 4 --test 4",
    "tools/run_net.py": f"{SMALL} TRAIN.BATCH_SIZE",  # the number follows, see `shorter`
    "tools/demo.py": f"--train 24 --val 4 --test 4 --opts {SMALL} TRAIN.BATCH_SIZE 10",
    "tools/benchmark.py": f"{TINY} --clips 1 2",  # each number has a process of its own
    "tools/paper.py": "",
    "tools/predict.py": "",
    "tools/report.py": "",
    "tools/plot_log.py": "",
    "tools/compare_logs.py": "",
    "tools/show_clips.py": "",
    "tools/export.py": "",
}
NEEDS_DATA = "/data/k400"  # a placeholder in commands for data the reader brings
# These are what `make test` and continuous integration themselves consist of.
MAKE = [
    "python3 -m venv .venv",
    ".venv/bin/python -m pip install --quiet --editable '.[dev]'",
    ".venv/bin/python tools/demo.py --out demo",
    ".venv/bin/ruff check .",
    ".venv/bin/ruff format --check .",
    ".venv/bin/python -m pytest",
]


def commands(page):
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.S):
        yield from (line for line in block.splitlines() if line.strip())


FIRST: dict[str, str] = {}  # a command that stands in several places is run once, the first time
for name in PAGES:
    for command in commands(name):
        FIRST.setdefault(command, name)
ALL = [(page, line) for line, page in FIRST.items()]


def run(line, cwd):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        line, shell=True, cwd=cwd, capture_output=True, text=True, env=environment, timeout=900
    )


def make_recipe():
    """What the two make targets would run on a fresh clone, line by line."""
    result = run("make --dry-run --always-make VENV=.venv PYTHON=python3 demo test", ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.fixture(scope="module")
def desk(tmp_path_factory, demo_data):
    """A folder like the repository's root, with a small demo in place; commands run in order."""
    desk = tmp_path_factory.mktemp("desk")
    for name in ("configs", "tools", "cmvl"):
        (desk / name).symlink_to(ROOT / name)
    shutil.copytree(demo_data, desk / "demo" / "data")
    events = "DATA.PATH_TO_DATA_DIR demo/data/events OUTPUT_DIR demo/seed0/EVENTS TEST.ENABLE False"
    command = f"{sys.executable} tools/run_net.py --cfg configs/demo/EVENTS.yaml {events}"
    result = run(f"{command} {SMALL} TRAIN.BATCH_SIZE 4", desk)
    assert result.returncode == 0, result.stderr
    return desk


def test_pages_have_commands():
    assert len(ALL) > 15


@pytest.mark.parametrize("line", [line for _, line in ALL if line.startswith("make ")])
def test_make_targets(line):
    result = run(f"{line} --dry-run", ROOT)
    assert result.returncode == 0, result.stderr


def test_plain_commands_are_those_of_make():
    recipe = make_recipe()
    for _, line in ALL:
        if line in MAKE:
            assert line in recipe, f"the Makefile does not run: {line}"


@pytest.mark.parametrize(
    ("page", "line"), [(p, x) for p, x in ALL if x not in MAKE and not x.startswith("make ")]
)
def test_command(page, line, desk):
    words = shlex.split(line)
    assert words[0] in ("python", ".venv/bin/python") and words[1] in SHORTER, f"untested: {line}"
    extra = SHORTER[words[1]]
    if words[1] == "tools/run_net.py":
        clips = 20 if "_CM" in line and "multi_iteration" not in line else 4
        extra = f"{extra} {clips}"
    plain = line.replace(words[0], shlex.quote(sys.executable), 1)
    result = run(f"{plain} {extra}", desk)
    if NEEDS_DATA in line:
        assert result.returncode == 1 and NEEDS_DATA in result.stderr, result.stderr
        assert result.stderr.startswith("error: ") and "unknown key" not in result.stderr
    else:
        assert result.returncode == 0, f"{page}: {line}\n{result.stdout[-2000:]}{result.stderr}"
