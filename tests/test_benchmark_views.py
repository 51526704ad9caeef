"""The benchmark of a test: both cells are there, and the tool prints them; what it refuses."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


AVA, K400 = "configs/AVA/SLOWFAST_4x16_V22_CM.yaml", "configs/K400/SLOW_8x8_CM.yaml"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (f"test --cfg {AVA} --opts NUM_GPUS 0", "`tools/benchmark.py ava` times"),
        (f"train --cfg {AVA} --opts NUM_GPUS 0", "`tools/benchmark.py ava` times"),
        (f"scale --cfg {AVA} --processes 1 --opts NUM_GPUS 0", "`tools/benchmark.py ava` times"),
        (f"ava --cfg {K400} --opts NUM_GPUS 0", "TASK is classification"),
        *((f"{what} --cfg {K400}", "set NUM_GPUS 0") for what in ("test", "train", "scale")),
        (f"ava --cfg {AVA}", "set NUM_GPUS 0"),
    ],
)
def test_what_cannot_be_measured_is_told(words, why, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool", *words.split()])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "tools/benchmark.py"), run_name="__main__")
    assert end.value.code.startswith("error: ") and why in end.value.code


def test_tool(monkeypatch, capsys):
    small = "NUM_GPUS 0 RESNET.WIDTH_PER_GROUP 8 DATA.TEST_CROP_SIZE 32 TEST.NUM_ENSEMBLE_VIEWS 2"
    words = f"tool test --cfg configs/K400/SLOW_8x8_CM.yaml --repeats 1 --opts {small}".split()
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "tools/benchmark.py"), run_name="__main__")
    bare, memory = capsys.readouterr().out.splitlines()
    assert bare.startswith("no memory ") and bare.endswith("1.000 times the first")
    assert memory.startswith("memory ") and float(memory.split()[1]) > 0
