"""The command line on real videos: train, checkpoint, resume, test; and what mistakes are told."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmvl.report.origin import commands
from cmvl.report.runs import read_run
from cmvl.utils import environment

ROOT = Path(__file__).parent.parent
SMALL = (
    "DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40] "
    "RESNET.WIDTH_PER_GROUP 8 RESNET.STAGE_BLOCKS [1,1,1,1] SOLVER.MAX_EPOCH 2 "
    "SOLVER.WARMUP_EPOCHS 0 LOG_PERIOD 1 TRAIN.EVAL_PERIOD 1 "
    "TEST.NUM_ENSEMBLE_VIEWS 3 TRAIN.EVAL_VIEWS 2 DATA_LOADER.NUM_WORKERS 0 NUM_GPUS 0"
).split()
CM = ROOT / "configs/demo/SLOWONLY_CM.yaml"
BASELINE = ROOT / "configs/demo/SLOWONLY.yaml"


@pytest.fixture(scope="module")
def data(demo_data):
    return demo_data / "relation"


def run_net(*args):
    command = [sys.executable, str(ROOT / "tools/run_net.py"), *map(str, args)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


def log_lines(folder, kind):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_two_stages_then_test(data, tmp_path):
    data = ["DATA.PATH_TO_DATA_DIR", data]
    one, two = tmp_path / "one", tmp_path / "two"
    first = run_net("--cfg", BASELINE, *data, *SMALL, "TRAIN.BATCH_SIZE", 4, "OUTPUT_DIR", one)
    assert first.returncode == 0, first.stderr
    second = run_net(
        "--cfg", CM, *data, "--num_shards", 1, "TRAIN.INIT_FROM", one, "--opts", *SMALL,
        "TRAIN.BATCH_SIZE", 20, "OUTPUT_DIR", two,
    )  # fmt: skip
    assert second.returncode == 0, second.stderr
    assert "4 videos x 5 clips a step" in second.stdout
    assert "left at their initial values: memory" in second.stdout
    steps = log_lines(two, "train")
    assert len(steps) == 2 * (12 // 4)
    assert {"loss", "lr", "gate_mean", "gate_saturated", "data_s", "eta_s", "memory_gb"} <= set(
        steps[0]
    )
    for line in steps:  # VIDEO.LOSS_WEIGHT is 1
        assert line["loss_clips"] + line["loss_video"] == pytest.approx(line["loss"], rel=1e-6)
        assert line["error"] in (0, 25, 50, 75, 100)
    page = (ROOT / "docs/logs.md").read_text()
    lines = [json.loads(line) for line in (two / "log.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"start", "train", "val"}
    versions = set(environment.versions()) - {"cmvl", "python", "system", "torch"}
    for line in lines:
        missing = [k for k in set(line) - versions if f"`{k}`" not in page and k != "kind"]
        assert f"## {line['kind']}" in page and not missing, f"docs/logs.md lacks {missing}"
    assert f"tools/run_net.py --cfg {CM} DATA.PATH_TO_DATA_DIR" in commands(read_run(two))[0]
    assert [line["epoch"] for line in log_lines(two, "val")] == [1, 2]
    summary = json.loads((two / "results/summary.json").read_text())
    assert summary["metrics"]["videos"] == 4
    assert len(summary["by_position"]) == 3
    with (two / "results/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).exists() for row in rows] == [True] * 4
    assert {row["label"] for row in rows} == {"alike", "unlike"}
    assert 25 * sum(int(row["correct"]) for row in rows) == summary["metrics"]["top1"]
    files = {"per_class.csv", "confusion.csv", "confusion.png", "scores.npz", "by_position.png"}
    assert files <= {path.name for path in (two / "results").iterdir()}
    assert (two / "config_train.yaml").exists()
    card = (two / "checkpoints/model_card.md").read_text()
    assert f"| top1 | {summary['metrics']['top1']:.2f} |" in card and "12 videos of" in card


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(data, tmp_path):
    def losses(folder):
        return [line["loss"] for line in log_lines(folder, "train")]

    def train(folder, epochs, *more):
        result = run_net(
            "--cfg", CM, "DATA.PATH_TO_DATA_DIR", data, *SMALL, "TRAIN.INIT_FROM", "",
            "TRAIN.BATCH_SIZE", 20, "OUTPUT_DIR", folder, "SOLVER.MAX_EPOCH", epochs,
            "SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.STEPS", "[0]",
            "SOLVER.LRS", "[1]", "MODEL.DROPOUT_RATE", 0.5, "TEST.ENABLE", False,
            "SOLVER.WARMUP_EPOCHS", 0, "TRAIN.EVAL_PERIOD", 0, "MIXUP.ENABLE", True, *more,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return result

    train(tmp_path / "whole", 2)
    shown = ["TENSORBOARD.ENABLE", True, "TENSORBOARD.NUM_VIDEOS", 2]  # must not change a thing
    train(tmp_path / "cut", 1, *shown)
    assert "resumed" in train(tmp_path / "cut", 2, *shown).stdout
    assert len(list((tmp_path / "cut/tensorboard").iterdir())) == 3  # a writer each, and clips
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_kinetics_without_data_stops_with_one_message(tmp_path):
    config = ROOT / "configs/K400/SLOWFAST_8x8_CM.yaml"
    for args in (
        [],
        ["DATA.PATH_TO_DATA_DIR", tmp_path / "k400"],
        ["DATA.PATH_TO_DATA_DIR", tmp_path],
    ):
        result = run_net("--cfg", config, "OUTPUT_DIR", tmp_path / "out", *args)
        assert result.returncode == 1
        assert result.stderr.startswith("error: ") and "Traceback" not in result.stderr
        assert "train.csv" in result.stderr and "make demo" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--cfg", "gone.yaml"], "gone.yaml: no such config file"),
        (["--cfg", CM, "VIDEO.NUM_CLIP", "3"], "did you mean VIDEO.NUM_CLIPS?"),
        (["--cfg", CM, "TASK", "detect"], "it can be classification"),
    ],
)
def test_mistakes_end_with_their_message(args, told, data, tmp_path):
    result = run_net(*args, "DATA.PATH_TO_DATA_DIR", data, "OUTPUT_DIR", tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ") and told in result.stderr


def test_a_broken_training_video_is_replaced_counted_and_named(data, tmp_path):
    lists = tmp_path / "data"
    lists.mkdir()
    for name in ("val.csv", "test.csv"):
        lines = (data / name).read_text().splitlines()
        (lists / name).write_text("".join(f"{data}/{line}\n" for line in lines))
    lines = (data / "train.csv").read_text().splitlines()
    (lists / "broken.mp4").write_text("not a video")
    rows = [f"{data}/{line}" for line in lines[:-1]] + ["broken.mp4 0"]
    (lists / "train.csv").write_text("\n".join(rows) + "\n")
    args = ["--cfg", BASELINE, "DATA.PATH_TO_DATA_DIR", lists, *SMALL, "SOLVER.MAX_EPOCH", 1]
    args += ["TRAIN.BATCH_SIZE", 4, "OUTPUT_DIR", tmp_path / "out"]
    result = run_net(*args)
    assert result.returncode == 0, result.stderr
    assert "replaced in training" in result.stdout and "train.csv:12" in result.stdout
    assert log_lines(tmp_path / "out", "broken")[0]["count"] >= 1

    rows = (lists / "test.csv").read_text() + "broken.mp4 0\n"
    (lists / "test.csv").write_text(rows)
    result = run_net(*args, "TRAIN.ENABLE", False)
    assert result.returncode == 1
    assert "test.csv:5" in result.stderr and "TEST.SKIP_BROKEN" in result.stderr
    result = run_net(*args, "TRAIN.ENABLE", False, "TEST.SKIP_BROKEN", True)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "out/results/summary.json").read_text())
    assert summary["metrics"]["videos"] == 4
    assert "test.csv:5" in summary["skipped"][0]


@pytest.mark.parametrize(
    "right, wrong, told",
    [
        (" 1\n", " 7\n", "label 7 at test.csv:"),
        (".mp4", ".avi", "is not there; 1 of 4 videos"),
    ],
)
def test_a_mistake_in_the_tests_list_is_told_before_the_training(
    right, wrong, told, data, tmp_path
):
    lists = tmp_path / "data"
    lists.mkdir()
    for name in ("train.csv", "val.csv", "test.csv"):
        (lists / name).write_text((data / name).read_text())
    (lists / "test.csv").write_text((data / "test.csv").read_text().replace(right, wrong, 1))
    args = ["DATA.PATH_TO_DATA_DIR", lists, "DATA.PATH_PREFIX", data, "TRAIN.BATCH_SIZE", 4]
    result = run_net("--cfg", BASELINE, *SMALL, *args, "OUTPUT_DIR", tmp_path / "out")
    assert result.returncode == 1 and told in result.stderr
    assert "test.csv:" in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
