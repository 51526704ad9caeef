"""Nothing of a run is left on the CPU when it has a GPU; a pretended one stands in for it."""

import json
import os
import subprocess
import sys

import pytest
import torch
from ava_data import settings, write_ava
from pretended_gpu import GPU, pretended_gpu
from test_ava_run import SMALL as SMALL_AVA
from test_fast import STRATEGIES, batch, stepper
from test_run_net import CM, ROOT, SMALL, log_lines

from toy import free_port

PRETENDING = str(ROOT / "tests/pretended_gpu.py")
EXACT = (
    "TRAIN.PRECISION float32 TEST.PRECISION float32 MODEL.MEMORY_FORMAT contiguous "
    "SOLVER.MAX_EPOCH 2 TRAIN.EVAL_PERIOD 1 DATA_LOADER.PIN_MEMORY False"
).split()
SLOWFAST = (
    "DATA.NUM_FRAMES 8 SLOWFAST.ALPHA 4 MODEL.NUM_CLASSES 2 TRAIN.BATCH_SIZE 20 "
    "BN.USE_PRECISE_STATS True BN.NUM_BATCHES_PRECISE 2 MIXUP.ENABLE True"
).split()


@pytest.fixture
def gpu():
    with pretended_gpu() as computing:
        yield computing


def test_it_refuses_what_a_gpu_refuses(gpu):
    x = torch.arange(3.0).to("cuda")
    assert x.device == GPU and (x + torch.ones(3, device=GPU) * torch.tensor(2.0)).sum() == 9
    with pytest.raises(RuntimeError, match="found cuda:0 and cpu"):
        x + torch.ones(3)
    with pytest.raises(TypeError, match="cuda:0"):
        x.numpy()
    assert type(x.cpu()) is torch.Tensor and x.cpu().numpy().sum() == 3
    net = torch.nn.Linear(3, 2).to(GPU)
    net(x).sum().backward()
    assert net.weight.grad.device == GPU and len(list(net.parameters())) == 2
    gpu.waits_allowed = False
    with pytest.raises(RuntimeError, match="waits"):
        x.sum().item()
    with pytest.raises(RuntimeError, match="waits"):
        torch.ones(3).to(GPU)
    assert torch.ones(3).pin_memory().to(GPU, non_blocking=True).device == GPU


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_step_never_waits_for_the_gpu(strategy, gpu):
    step = stepper("VIDEO.STRATEGY", strategy, device=GPU)
    step([batch()], 0.02)
    pinned = batch(1).pin_memory()
    gpu.waits_allowed = False
    loss = step([pinned], 0.02)["loss"]
    gpu.waits_allowed = True
    assert loss.device == GPU


def start(words, **environment):
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    words = [sys.executable, *map(str, words)]
    return subprocess.Popen(words, env=os.environ | path | environment, **pipes)


def finish(run):
    said = run.communicate(timeout=300)[0]
    assert run.returncode == 0, said[-3000:]


def both(*words, out):
    """Run `words` on a CPU and on a pretended GPU, to folders cpu and gpu of `out`."""
    runs = []
    for gpus, pretending in enumerate([[], [PRETENDING]]):
        folder = out / ("gpu" if gpus else "cpu")
        more = ["NUM_GPUS", gpus, "OUTPUT_DIR", folder]
        runs.append((folder, start([*pretending, *words, *more])))
    for _, run in runs:
        finish(run)
    return [folder for folder, _ in runs]


def numbers(folder):
    """All of a run's log that is no time."""
    rows = []
    for line in log_lines(folder, "train") + log_lines(folder, "val"):
        keys = [k for k in line if not k.endswith("_s") and k not in ("kind", "memory_gb")]
        rows += [(k, line[k]) for k in keys]
    return rows


def test_classification_is_the_cpus(demo_data, tmp_path):
    """To the last bit, from training to predictions."""
    data = ["DATA.PATH_TO_DATA_DIR", demo_data / "relation", "DATA_LOADER.NUM_WORKERS", 1]
    words = ["--cfg", CM, *SMALL, *EXACT, *data, "MODEL.FREEZE_BACKBONE", False]
    cpu, gpu = both(ROOT / "tools/run_net.py", *words, "TRAIN.BATCH_SIZE", 20, out=tmp_path)
    assert numbers(gpu) == numbers(cpu) != []
    for result in ("results/predictions.csv", "results/summary.json"):
        assert (gpu / result).read_text().replace(str(gpu), str(cpu)) == (cpu / result).read_text()
    video, scores = demo_data / "relation/test/0000.mp4", []
    for device, pretending in (("cpu", []), ("cuda", [PRETENDING])):
        words, json_file = [gpu, video, "--device", device], tmp_path / f"{device}.json"
        finish(start([*pretending, ROOT / "tools/predict.py", *words, "--json", json_file]))
        scores.append(json.loads(json_file.read_text()))
    assert scores[0] == scores[1]


def test_detection_is_the_cpus(tmp_path):
    write_ava(tmp_path, train=4, val=2, seconds=6)
    config = ROOT / "configs/AVA/SLOWFAST_4x16_V22_CM.yaml"
    words = ["--cfg", config, *settings(tmp_path), *SMALL_AVA, *EXACT, "TRAIN.INIT_FROM", ""]
    cpu, gpu = both(ROOT / "tools/run_net.py", *words, "TRAIN.BATCH_SIZE", 18, out=tmp_path)
    assert numbers(gpu) == numbers(cpu) != []
    for result in ("results/detections.csv", "results/per_class.csv"):
        assert (gpu / result).read_text() == (cpu / result).read_text()


def test_two_gpus_compute_what_two_processes_do(demo_data, tmp_path):
    """But for roundings: norms over both take the kernels of GPUs."""
    config = ROOT / "configs/K400/SLOWFAST_8x8_CM.yaml"
    small_steps = ["SOLVER.MAX_EPOCH", 1, "SOLVER.BASE_LR", 0.001]  # large ones magnify roundings
    options = [*SMALL, *EXACT, *SLOWFAST, *small_steps, "TRAIN.INIT_FROM", ""]
    words = [ROOT / "tools/run_net.py", "--cfg", config, *options]
    words += ["DATA.PATH_TO_DATA_DIR", demo_data / "relation"]
    found = []
    for gpus, pretending in ((0, []), (2, [PRETENDING])):
        out = tmp_path / str(gpus)
        more = ["NUM_GPUS", gpus, "DIST.PROCESSES", 2, "OUTPUT_DIR", out]
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
        runs = [
            start([*pretending, *words, *more], RANK=r, LOCAL_RANK=r, **meeting) for r in ("0", "1")
        ]
        for run in runs:
            finish(run)
        found.append(log_lines(out, "train"))
    assert len(found[0]) == 3
    for cpu, gpu in zip(*found, strict=True):
        assert gpu["loss"] == pytest.approx(cpu["loss"], rel=1e-4)
