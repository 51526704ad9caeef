"""Where two runs part."""

import subprocess
import sys
from pathlib import Path

import pytest
from run_folders import write_run

from cmvl.report.divergence import tell_apart
from cmvl.report.runs import read_run

ROOT = Path(__file__).parent.parent
STEPS = [(epoch, step) for epoch in (1, 2) for step in (5, 10)]
START = {"kind": "start", "job": "train", "command": "run", "torch": "2.6", "list": "ab"}


def run(folder, losses, start=START, top1=50.0, **more):
    lines = [start]
    for (epoch, step), loss in zip(STEPS, losses, strict=True):
        lines.append({"kind": "train", "epoch": epoch, "step": step, "steps": 10, "loss": loss})
        lines[-1] |= {"lr": 0.1, "step_s": loss / 7, **more}
    lines.append({"kind": "val", "epoch": 2, "top1": top1, "videos": 8})
    return read_run(write_run(folder, lines, n=1, top1=top1))


def told(tmp_path, *runs):
    return tell_apart(*(run(tmp_path / str(i), **kind) for i, kind in enumerate(runs))).splitlines()


def test_the_same_numbers_whatever_the_clock_says(tmp_path):
    one = {"losses": [4.0, 3.0, 2.0, 1.0]}
    assert told(tmp_path, one, {**one, "step_s": 9, "memory_gb": 3}) == [
        "0 | 1", "settings    the same", "machine     the same", "training    4 lines of both",
        "            the same in all of them", "validation  1 lines of both",
        "            the same in all of them", "test        the same",
    ]  # fmt: skip


def test_the_first_of_each_size(tmp_path):
    """A rounding, then 0.5%, then half."""
    found = told(
        tmp_path,
        {"losses": [4.0, 3.0, 2.0, 1.0]},
        {"losses": [4.0, 3.0 + 1e-9, 2.01, 0.5], "top1": 62.5},
    )
    assert found[4:8] == [
        "            the same up to epoch 1 step 5",
        "            apart by a rounding from epoch 1 step 10 on: loss 3 | 3",
        "            apart by more than 0.1% from epoch 2 step 5 on: loss 2 | 2.01",
        "            apart by more than 10% from epoch 2 step 10 on: loss 1 | 0.5",
    ]
    assert found[9] == "            apart by more than 10% from epoch 2 on: top1 50 | 62.5"
    assert found[10] == "test        top1 50 | 62.5"


@pytest.mark.parametrize("other", [None, "nan"])
def test_a_number_that_one_lacks(other, tmp_path):
    found = told(
        tmp_path, {"losses": [4.0, 3.0, 2.0, 1.0]}, {"losses": [4.0, 3.0, 2.0, 1.0], "lr": other}
    )
    assert (
        found[4] == f"            apart by more than 10% from epoch 1 step 5 on: lr 0.1 | {other}"
    )


def test_machines_lists_and_settings(tmp_path):
    one, two = ({"losses": [4.0, 3.0, 2.0, 1.0]} for _ in range(2))
    two["start"] = START | {"torch": "2.7", "list": "cd", "command": "another"}
    write = tmp_path / "1" / "config_train.yaml"
    runs = [run(tmp_path / str(i), **kind) for i, kind in enumerate((one, two))]
    write.write_text(write.read_text() + "LOG_PERIOD: 5\n")
    text = tell_apart(runs[0], read_run(runs[1].path))
    assert (
        "settings    LOG_PERIOD None | 5\nmachine     list ab | cd\n            torch 2.6 | 2.7"
        in text
    )
    assert "LOG_PERIOD differs" in text and "another" not in text


def test_runs_without_a_step_in_common(tmp_path):
    write_run(tmp_path / "a", [{"kind": "train", "epoch": 1, "step": 1, "steps": 2, "loss": 1.0}])
    write_run(tmp_path / "b", [])
    command = [sys.executable, str(ROOT / "tools/compare_logs.py"), tmp_path / "a", tmp_path / "b"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "no line in common, of 1 and 0" in done.stdout
    assert "test        not of both" in done.stdout
