"""The model card beside a run's checkpoints."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from run_folders import write_run
from trained_nets import TINY, write_checkpoint

from cmvl.config import dump_cfg, load_cfg
from cmvl.report.card import card, write_card
from cmvl.report.runs import read_run
from cmvl.utils.logging import logger

from video_files import write_video

ROOT = Path(__file__).parent.parent
CFG = "configs/demo/SLOWONLY_CM.yaml"
START = {"kind": "start", "job": "train", "folder": str(ROOT), "torch": "2.14", "data": "9 videos"}


@pytest.fixture
def run(tmp_path):
    """A trained run, not tested yet."""
    lines = [START | {"command": f"python tools/run_net.py --cfg {CFG} A 1"}]
    lines += [{"kind": "train", "epoch": 3, "step": 2, "steps": 2, "loss": 1.0}]
    lines += [{"kind": "val", "epoch": e, "top1": v} for e, v in ((2, 75.0), (3, 50.0))]
    folder = write_run(tmp_path / "my run", lines)
    opts = ["TRAIN.INIT_FROM", "k400.pyth", "SOLVER.MAX_EPOCH", "9", "OUTPUT_DIR", str(folder)]
    dump_cfg(load_cfg(ROOT / CFG, opts), folder / "config_train.yaml")
    write_checkpoint(folder / "checkpoints/checkpoint_epoch_00003.pyth")
    return folder


def section(text, name):
    return text.split(f"## {name}\n")[1].split("\n## ")[0]


def test_card_says_what_the_weights_are(run):
    path = write_card(run)
    text = path.read_text()
    assert path == run / "checkpoints" / "model_card.md" and text.startswith("# my run\n")
    assert "SlowOnly with an associative memory (Eq. 2, 3), 2 classes" in text
    assert "5 clips of a video at a time" in text
    assert "| training | 9 videos, read as Kinetics |" in section(text, "Data")
    assert "| test | not run |" in text
    assert section(text, "Results").strip() == "Not tested."
    training = section(text, "Training")
    assert "| epochs | 3 of 9 |" in training and "k400.pyth" in training
    assert "top1 75.00, epoch 2" in training and f"--cfg {CFG} A 1" in training
    config = section(text, "Config")
    assert "Against configs/demo/SLOWONLY_MULTICLIP.yaml" in config
    assert "| `SOLVER.MAX_EPOCH` | `9` |" in config and "OUTPUT_DIR" not in config
    assert "| torch | 2.14 |" in section(text, "Versions")
    assert "`k400.pyth`" in section(text, "Licence")


def test_card_is_written_anew_after_a_test(run):
    write_card(run)
    summary = {"weights": "x/checkpoint_epoch_00003.pyth", "metrics": {"top1": 62.5, "videos": 8}}
    (run / "results/summary.json").write_text(json.dumps(summary | {"skipped": ["a.mp4: bad"]}))
    (run / "checkpoints/checkpoint_best.pyth").touch()
    text = write_card(run).read_text()
    results = section(text, "Results")
    assert "| top1 | 62.50 |" in results and "| videos | 8 |" in results
    assert "| left out, unreadable | 1 |" in results
    assert "checkpoint_epoch_00003.pyth' VIDEO" in section(text, "Use")  # the one with results
    (run / "results/summary.json").unlink()
    assert "checkpoint_best.pyth' VIDEO" in section(write_card(run).read_text(), "Use")


def test_the_command_of_the_card_predicts(run, tmp_path):
    (command,) = re.findall(r"```bash\n(.*?)\n```", section(write_card(run).read_text(), "Use"))
    video = write_video(tmp_path / "a b, c.mp4", 40)
    command = command.replace("python", sys.executable, 1).replace("VIDEO", f"'{video}'")
    result = subprocess.run(
        f"{command} --device cpu", shell=True, cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert result.returncode == 0 and "stir" in result.stdout, result.stderr


def test_a_damaged_file_of_an_earlier_job_is_told(run, caplog, monkeypatch):
    """A test cut short left it: the next one, which mends it, comes after the card."""
    monkeypatch.setattr(logger, "propagate", True)
    damaged = run / "results/summary.json"
    damaged.write_text('{"metrics": {"top')
    assert write_card(run) is None
    assert f"model_card.md is not written: {damaged}: damaged" in caplog.text
    damaged.unlink()


def test_a_run_without_checkpoints_has_no_card(tmp_path):
    assert write_card(write_run(tmp_path / "a", [START])) is None


@pytest.mark.parametrize("task", ["classification", "multi_label", "detection"])
def test_every_task_has_a_card(tmp_path, task):
    folder = write_run(tmp_path / "a|b", [])
    dump_cfg(load_cfg(None, [*TINY, "TASK", task]), folder / "config_train.yaml")
    text = card(read_run(folder), ["checkpoint_epoch_00001.pyth"])
    assert "Config" in text and ("--boxes" in text) == (task == "detection")
