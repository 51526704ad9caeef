"""The benchmark of a test: both cells are there, and the tool prints them."""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_tool(monkeypatch, capsys):
    small = "NUM_GPUS 0 RESNET.WIDTH_PER_GROUP 8 DATA.TEST_CROP_SIZE 32 TEST.NUM_ENSEMBLE_VIEWS 2"
    words = f"tool test --cfg configs/K400/SLOW_8x8_CM.yaml --repeats 1 --opts {small}".split()
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "tools/benchmark.py"), run_name="__main__")
    bare, memory = capsys.readouterr().out.splitlines()
    assert bare.startswith("no memory ") and bare.endswith("1.000 times the first")
    assert memory.startswith("memory ") and float(memory.split()[1]) > 0
