"""A small training or test in processes of its own, made to fail at a chosen point."""

import io
import json
import multiprocessing
import os
import shutil
import signal
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import SGD

from cmvl import inference
from cmvl.checkpoint import Checkpointer, folder
from cmvl.config import load_cfg
from cmvl.data import dataset
from cmvl.data.order import EpochSampler
from cmvl.engine import test as testing
from cmvl.engine import train as training
from cmvl.engine.setup import build_crew
from cmvl.engine.step import Stepper
from cmvl.launch import launch
from cmvl.utils.distributed import rank
from cmvl.utils.errors import UserError
from cmvl.utils.runlog import RunLog

CONFIG = Path(__file__).parents[2] / "configs/demo/SLOWONLY_CM.yaml"
# 6 steps an epoch of 2 videos x 2 clips; dropout and momentum so that every state matters.
OPTIONS = (
    "DATA.TRAIN_CROP_SIZE 16 DATA.TEST_CROP_SIZE 16 DATA.TRAIN_JITTER_SCALES [16,20] "
    "RESNET.WIDTH_PER_GROUP 8 RESNET.STAGE_BLOCKS [1,1,1,1] MODEL.DROPOUT_RATE 0.5 "
    "MODEL.FREEZE_BACKBONE False TRAIN.INIT_FROM  TRAIN.BATCH_SIZE 4 VIDEO.NUM_CLIPS 2 "
    "SOLVER.MAX_EPOCH 3 SOLVER.WARMUP_EPOCHS 0.5 LOG_PERIOD 2 TRAIN.EVAL_PERIOD 1 "
    "TRAIN.EVAL_VIEWS 1 DATA_LOADER.NUM_WORKERS 0 NUM_GPUS 0 TRAIN.CHECKPOINT_MINUTES 0 "
    "TRAIN.CHECKPOINT_KEEP 2 TEST.ENABLE False"
).split(" ")
EVERY_STEP = ("TRAIN.CHECKPOINT_MINUTES", "1e-6")

# Where a run can be struck: calls that are counted, the blow falls before the call.
POINTS = {
    "step": (Stepper, "__call__"),
    "update": (SGD, "step"),
    "line": (RunLog, "_line"),
    "checkpoint": (Checkpointer, "_write"),
    "half": (torch, "save"),
    "checksum": (folder, "_write_checksum"),
    "renamed": (folder, "_sync_folder"),
    "evaluation": (training, "evaluate"),
    "end": (Checkpointer, "end_epoch"),
    "decoding": (dataset, "cut_clips"),
    "scoring": (inference, "predict_video"),
}


@dataclass(frozen=True)
class Blow:
    """Signal `number` strikes before the `count`-th call at `point`, or amid a checkpoint's write.

    That is the point "half". In the process that makes the call, be it a data worker.
    """

    point: str
    count: int
    number: int = signal.SIGKILL
    rank: int = 0

    def prepare(self) -> None:
        calls = Counter()

        def strike() -> None:
            calls[self.point] += 1
            if calls[self.point] == self.count:
                os.kill(os.getpid(), self.number)

        owner, name = POINTS[self.point]
        method = getattr(owner, name)

        def struck(*args, **kwargs):
            strike()
            return method(*args, **kwargs)

        def struck_amid(state, file, **options):
            if not isinstance(state, dict) or "model_state" not in state:
                return method(state, file, **options)  # torch's own use of it
            method(state, whole := io.BytesIO())
            content = whole.getvalue()
            file.write(content[: len(content) // 2])
            file.flush()
            strike()
            file.write(content[len(content) // 2 :])

        setattr(owner, name, struck_amid if self.point == "half" else struck)


def run(cfg, blow):
    """What each process of a run does."""
    if blow and blow.rank == rank():
        blow.prepare()
    (training.train if cfg.TRAIN.ENABLE else testing.test)(cfg)


def main(options, blow, said):
    """The run's first process; its console goes to the file `said`."""
    console = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(console, 1)
    os.dup2(console, 2)
    torch.set_num_threads(1)
    try:
        cfg = load_cfg(CONFIG, options)
        launch(run, [cfg, blow], build_crew(cfg))
    except UserError as error:
        print(f"error: {error}", flush=True)
        os._exit(1)
    except Exception:
        traceback.print_exc()
        os._exit(3)


def train(run_folder, data, *options, blow=None):
    """Train in `run_folder` until the end or the blow; the exit code, negative for a signal."""
    # A server that has all imported forks each run: a start costs no seconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cmvl.engine.train", "cmvl.data"])
    run_folder.mkdir(exist_ok=True)
    places = ["DATA.PATH_TO_DATA_DIR", str(data), "OUTPUT_DIR", str(run_folder)]
    arguments = ([*OPTIONS, *places, *map(str, options)], blow, run_folder / "said.txt")
    process = context.Process(target=main, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def numbers(run_folder):
    """The log's lines without what the clock and the machine put in."""
    clock = {"data_s", "step_s", "eta_s", "memory_gb"}
    lines = [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["kind"] != "start"]  # there is one of each start
    return [{k: v for k, v in line.items() if k not in clock} for line in lines]


def last_state(run_folder):
    """Weights, optimizer and random states at the end."""
    path = sorted((run_folder / "checkpoints").glob("checkpoint_epoch_*.pyth"))[-1]
    state = torch.load(path)
    assert state["epoch"] == 2 and state["videos"] == 0
    return {k: state[k] for k in ("model_state", "optimizer_state", "per_rank", "best")}


def said(run_folder):
    return (run_folder / "said.txt").read_text()


def copied(data, folder):
    """The data set in another folder, whose files may be harmed."""
    shutil.copytree(data, folder)
    return folder


def nth_video(data, place):
    """The training video that comes at `place`, from 0, in the first epoch."""
    lines = (data / "train.csv").read_text().splitlines()
    order = [index for _, index in EpochSampler(len(lines), seed=0, videos=1)]
    return data / lines[order[place]].rpartition(" ")[0]
