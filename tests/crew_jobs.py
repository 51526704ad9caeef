"""What the processes of a test do; a module of its own, so that they can import it."""

import atexit
import multiprocessing
import os
import signal
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import torch
import torch.distributed as dist
from norm_kernels import stand_ins
from torch.optim import SGD
from torch.utils.data import Dataset

from cmvl.config import load_cfg
from cmvl.data import build_loader
from cmvl.data.loader import VideoLoader
from cmvl.encode import batch_reduction, multi_iteration
from cmvl.engine.precise import precise_bn
from cmvl.engine.precision import Precision
from cmvl.engine.setup import agree
from cmvl.engine.step import Stepper
from cmvl.engine.test import evaluate
from cmvl.launch.signals import STOPPED, stop_requests
from cmvl.layers.batchnorm import synchronise
from cmvl.losses import BoxLoss, VideoLoss
from cmvl.model import build_model
from cmvl.structures import VideoBatch
from cmvl.tasks import find_task
from cmvl.utils.distributed import (
    all_gather,
    broadcast,
    chain,
    gather,
    highest,
    rank,
    world_size,
)
from cmvl.utils.errors import DataError

from toy import random_clips, toy_box_model

CPU = torch.device("cpu")
B, N = 4, 3
SMALL = (
    "MODEL.BACKBONE SlowFast DATA.NUM_FRAMES 8 RESNET.WIDTH_PER_GROUP 8 SLOWFAST.BETA_INV 4 "
    "RESNET.STAGE_BLOCKS [1,1,1,1] MODEL.NUM_CLASSES 5 MODEL.DROPOUT_RATE 0.0 "
    "RESNET.ZERO_INIT_FINAL_BN False MEMORY.INTERACTION AssociativeMemory"
)


def small_model(strategy):
    cfg = load_cfg(None, [*SMALL.split(), "VIDEO.STRATEGY", strategy, "VIDEO.NUM_CLIPS", str(N)])
    torch.manual_seed(0)
    return build_model(cfg, find_task("classification").head).double()


def my_share(seed):
    """This process's part of a batch of B videos."""
    clips, labels = random_clips(B, N, 3, 8, 32, 32, seed=seed), torch.arange(B) + seed % 2
    mine = slice(rank() * B // world_size(), (rank() + 1) * B // world_size())
    return VideoBatch(clips[mine], labels[mine], torch.arange(B)[mine])


def my_boxes(seed):
    """The same with boxes of actions, spread unevenly over clips; the last video has none."""
    batch, generator = my_share(seed), torch.Generator().manual_seed(seed)
    clip = torch.tensor([0, 0, 1, 3, 4, 4, 4, 7])  # of B * N
    corners = 16 * torch.rand(8, 2, generator=generator)
    labels = (torch.rand(8, 5, generator=generator) > 0.6).double()
    first = rank() * B // world_size() * N
    mine = (clip >= first) & (clip < first + batch.clips.shape[:2].numel())
    boxes = torch.cat([clip[:, None] - first, corners, corners + 12], dim=1).double()
    return replace(batch, labels=labels[mine], boxes=boxes[mine])


def five_steps(model, share, loss_fn):
    """Losses over all processes, weights and running statistics after five steps."""
    synchronise(model.train())
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)
    step = Stepper(model, optimizer, loss_fn, Precision(None, CPU))
    losses = [all_gather(step([share(seed)], 0.02)["loss"]).mean() for seed in range(5)]
    return torch.stack(losses), model.state_dict()


class Passes(list):
    """A loader's face on ready batches."""

    class sampler:  # noqa: N801
        set_epoch = staticmethod(lambda epoch: None)


def precise_statistics():
    model = small_model("batch_reduction")
    said = precise_bn(model, Passes([my_share(seed) for seed in range(3)]), 0, 200, CPU)
    assert said.startswith("precise batch norm: 3 batches")
    return dict(model.named_buffers())


def in_groups(of_videos, encode=batch_reduction, **how):
    """Clip after clip: groups of norms lie together."""
    videos, boxes = small_model("batch_reduction"), toy_box_model("batch_reduction")
    videos.encode = boxes.encode = partial(encode, together=True, **how)
    yield "videos", five_steps(videos, my_share, of_videos)
    yield "boxes", five_steps(boxes, my_boxes, BoxLoss())


def everything(folder):
    """All of the above, and the small things that are said between processes."""
    results, of_videos = {}, VideoLoss(torch.nn.CrossEntropyLoss(), 1.0)
    for strategy in ("batch_reduction", "multi_iteration"):
        results["videos", strategy] = five_steps(small_model(strategy), my_share, of_videos)
        results["boxes", strategy] = five_steps(toy_box_model(strategy), my_boxes, BoxLoss())
    results |= {(what, "by_groups"): found for what, found in in_groups(of_videos)}
    two = in_groups(of_videos, multi_iteration, at_once=2)
    results |= {(what, "two_at_once"): found for what, found in two}
    with stand_ins() as kernel:
        results |= {(what, "by_kernels"): found for what, found in in_groups(of_videos)}
    assert kernel.called or world_size() == 1
    results["precise"] = precise_statistics()
    assert list(chain(iter([rank(), "x"]))) == ([*_pairs()] if rank() == 0 else [])
    assert gather(rank()) == (list(range(world_size())) if rank() == 0 else [])
    assert broadcast(rank()) == 0 and highest(rank()) == world_size() - 1
    if rank() == 0:
        torch.save(results, folder / f"world{world_size()}.pt")


def _pairs():
    return (x for r in range(world_size()) for x in (r, "x"))


def fail(how):
    """Rank 1 fails, the others wait for it; or all do, with much to say."""
    if how == "long":
        raise RuntimeError("x" * 200_000)
    if rank() == 1:
        time.sleep(0.3)
        if how == "user":
            raise DataError("train.csv:7: no label")
        if how == "aborts":
            atexit.register(os.abort)
        if how in ("bug", "aborts"):
            raise KeyError("the real one")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(1000)
    dist.barrier()


def fail_apart(failing, hearing):
    """One process fails; the others lose their connection to it, or hear of nothing."""
    if rank() == int(failing):
        raise DataError("train.csv:7: no label")
    if hearing == "hearing":
        dist.barrier()
    time.sleep(1000)


def start_with_other_settings():
    """Where its files lie is a process's own affair, how it learns is not."""
    own = {"OUTPUT_DIR": f"at{rank()}", "DATA_LOADER.NUM_WORKERS": str(rank())}
    agree(load_cfg(None, [word for pair in own.items() for word in pair]))
    agree(load_cfg(None, ["SOLVER.BASE_LR", f"0.{rank() + 1}"]))


def load_from_other_lists(folder):
    """First from other folders, then with other classes."""
    for names in (["a/1.mp4 0", "a/2.mp4 1"], ["b/1.mp4 0", "b/2.mp4 1"]), (["1 0"], ["1 1"]):
        own = folder / str(rank())
        own.mkdir(exist_ok=True)
        (own / "val.csv").write_text("\n".join(names[rank()]))
        build_loader(load_cfg(None, ["DATA.PATH_TO_DATA_DIR", str(own)]), "val")


def count():
    """All of them, by a collective."""
    ranks = torch.tensor(float(rank()))
    dist.all_reduce(ranks)
    if rank() == 0:
        print(f"{world_size()} processes, the sum of their ranks is {ranks:g}")


def count_for_ever():
    while True:
        dist.all_reduce(torch.ones(1))
        print("here", flush=True)
        time.sleep(0.1)


def step_with_own_norms(folder):
    """A step from statistics that are 100 apart."""
    model = small_model("batch_reduction").train()
    step = Stepper(
        model,
        SGD(model.parameters(), lr=0.02),
        VideoLoss(torch.nn.CrossEntropyLoss(), 1.0),
        Precision(None, CPU),
    )
    statistics = next(x for name, x in model.named_buffers() if name.endswith("running_mean"))
    statistics.fill_(100.0 * rank())
    step([my_share(0)], 0.02)
    torch.save((statistics, dict(model.named_parameters())), folder / f"{rank()}.pt")


def evaluate_norms(folder):
    """Norms that had moved apart, after an evaluation of nothing."""
    norm = torch.nn.BatchNorm1d(3)
    norm.running_mean += rank() + 5
    norm.num_batches_tracked += rank()
    nothing = SimpleNamespace(compute=dict, by_position=list)
    evaluate(norm, [], lambda model, batches: iter(batches), nothing, Precision(None, CPU))
    torch.save(norm.state_dict(), folder / f"{rank()}.pt")


class HowStarted(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, i):
        return multiprocessing.current_process()._start_method


def note_how_workers_start(folder):
    ((said,),) = VideoLoader(HowStarted(), num_workers=1, timeout=60, prefetch=1)
    (folder / f"{rank()}.txt").write_text(said)


def leave_amid_collectives():
    """With threads of the process group at work."""
    for _ in range(50):
        dist.all_reduce(torch.ones(200_000), async_op=True)
    sys.exit(STOPPED)


def wait_for_a_stop(heeding):
    """For ever, or until asked to stop, which a training does."""
    with stop_requests() if heeding else nullcontext() as stop:
        os.write(1, b"here\n")  # in one piece, among other processes
        while not stop:
            time.sleep(0.02)
    sys.exit(STOPPED)
