"""Submitting runs: submitit's executor for one machine, and the batch script with fakes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CM = ROOT / "configs/demo/SLOWONLY_CM.yaml"
SMALL = (
    "DATA.TRAIN_CROP_SIZE 16 DATA.TEST_CROP_SIZE 16 DATA.TRAIN_JITTER_SCALES [16,20] "
    "RESNET.WIDTH_PER_GROUP 8 TRAIN.BATCH_SIZE 30 TRAIN.EVAL_PERIOD 0 TEST.ENABLE False "
    "DATA_LOADER.NUM_WORKERS 0 LOG_PERIOD 1 TRAIN.CHECKPOINT_PERIOD 100"
).split()


def submit(*words, **environment):
    command = [sys.executable, ROOT / "tools/slurm.py", "--cfg", CM, "--gpus", "0", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(list(map(str, command)), env=environment, **pipes)


def test_a_job_whose_time_is_over_saves_and_goes_on(demo_data, tmp_path):
    pytest.importorskip("submitit")
    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc")
    run = tmp_path / "run"
    places = ["DATA.PATH_TO_DATA_DIR", demo_data / "relation", "OUTPUT_DIR", run]
    epochs = ["SOLVER.MAX_EPOCH", 100]
    logs = ["--folder", tmp_path / "logs"]
    command = submit("--local", *logs, *places, *SMALL, *epochs)
    assert "2 steps" not in command.stdout.readline()  # the plan
    line = command.stdout.readline()
    assert line.startswith("job "), line + command.stdout.read()
    while not (run / "log.jsonl").exists() and command.poll() is None:
        time.sleep(0.05)
    job = line.split()[1].rstrip(",")
    (task,) = Path(f"/proc/{job}/task/{job}/children").read_text().split()
    os.kill(int(task), signal.SIGUSR2)  # as SLURM before the end
    out, _ = command.communicate()
    assert command.returncode == 0, out
    told = (run / "stdout.log").read_text()
    assert "stopped by SIGUSR1" in told and "resumed" in told
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert len([line for line in lines if line["kind"] == "start"]) == 2
    steps = [(line["epoch"], line["step"]) for line in lines if line["kind"] == "train"]
    assert steps == [(epoch, step) for epoch in range(1, 101) for step in (1, 2)]


def test_a_mistake_is_told_before_the_queue(tmp_path):
    command = submit("--nodes", 16, "TRAIN.BATCH_SIZE", 20, "BN.SYNC", "False")
    out, _ = command.communicate()
    assert command.returncode == 1
    assert out.startswith("error: with 16 processes: MEMORY.NORM batch")


def test_a_setting_of_slurm_without_a_value_is_told(tmp_path):
    pytest.importorskip("submitit")
    command = submit("--local", "--folder", tmp_path, "--slurm", "partition", "--opts")
    out, _ = command.communicate()
    assert command.returncode == 1
    assert "error: --slurm partition: expected KEY=VALUE" in out


def test_a_time_shorter_than_the_notice_is_told(tmp_path):
    pytest.importorskip("submitit")
    command = submit("--local", "--folder", tmp_path, "--hours", "0.1")
    out, _ = command.communicate()
    assert command.returncode == 1
    assert "error: --hours 0.1: a run is told 5 minutes before" in out


def test_what_slurm_refuses_is_told_in_its_words(tmp_path):
    pytest.importorskip("submitit")
    refusal = "sbatch: error: invalid partition specified: vidoe"
    for name in ("srun", "sbatch"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{refusal}" >&2\nexit 1\n')
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = submit("--folder", tmp_path, "--slurm", "partition=vidoe", "--opts", PATH=path)
    out, _ = command.communicate()
    assert command.returncode == 1 and "Traceback" not in out
    assert f"error: SLURM refuses the job:\n{refusal}\nWhat is asked for: --nodes" in out


def test_a_machine_without_slurm_is_told(tmp_path):
    pytest.importorskip("submitit")
    command = submit("--folder", tmp_path, PATH="")
    out, _ = command.communicate()
    assert command.returncode == 1 and out.splitlines()[-1].startswith("error: there is no srun"), (
        out
    )


@pytest.mark.parametrize("code", [0, 1, 143])
def test_the_batch_script(code, tmp_path):
    """It asks SLURM for the machines, and for the queue again if the run has stopped itself."""
    fakes = {
        "scontrol": f'echo "$@" >> {tmp_path}/asked; [ "$1" = show ] && echo node7 && echo node8',
        "srun": 'SLURM_NODEID=1 exec "$@"',
        "python": f'echo "$@" >> {tmp_path}/ran; exit {code}',
    }
    for name, body in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_JOB_ID": "41000", "SLURM_NNODES": "2",
    }  # fmt: skip
    command = ["bash", ROOT / "tools/slurm.sbatch", "--cfg", "a b.yaml", "NUM_GPUS", "8"]
    assert subprocess.run(command, env=environment).returncode == code
    assert (tmp_path / "ran").read_text() == (
        "tools/run_net.py --cfg a b.yaml NUM_GPUS 8 --num_shards 2 --shard_id 1 "
        "--init_method tcp://node7:21000\n"
    )
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["show hostnames node[7-8]", *["requeue 41000"] * (code == 143)]
