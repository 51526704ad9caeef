"""What the processes of a test do; a module of its own, so that they can import it."""

import os
import signal
import time

import torch
import torch.distributed as dist
from torch.optim import SGD

from cmvl.config import load_cfg
from cmvl.engine.precise import precise_bn
from cmvl.engine.precision import Precision
from cmvl.engine.step import Stepper
from cmvl.layers.batchnorm import synchronise
from cmvl.losses import BoxLoss, VideoLoss
from cmvl.model import build_model
from cmvl.structures import VideoBatch
from cmvl.tasks import find_task
from cmvl.utils.distributed import all_gather, broadcast, chain, gather, highest, rank, world_size
from cmvl.utils.errors import DataError

from toy import random_clips

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


def five_steps(strategy):
    """Losses over all processes, weights and running statistics after five steps."""
    model = small_model(strategy).train()
    synchronise(model)
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)
    loss_fn = VideoLoss(torch.nn.CrossEntropyLoss(), 1.0)
    step = Stepper(model, optimizer, loss_fn, Precision(None, CPU))
    losses = [all_gather(step([my_share(seed)], 0.02)["loss"]).mean() for seed in range(5)]
    return torch.stack(losses), model.state_dict()


def box_gradient():
    """Of the mean loss over all boxes, which are spread unevenly over the processes."""
    torch.manual_seed(1)
    weight = torch.nn.Parameter(torch.randn(6, 3, dtype=torch.float64))
    boxes, labels = torch.randn(7, 6, dtype=torch.float64), torch.rand(7, 3).round().double()
    mine = slice(None) if world_size() == 1 else [slice(0, 1), slice(1, 7)][min(rank(), 1)]
    mine = slice(0, 0) if rank() > 1 else mine
    BoxLoss()(boxes[mine] @ weight, labels[mine])["loss"].backward()
    return all_gather(weight.grad).mean(dim=0)


class Passes(list):
    """A loader's face on ready batches."""

    class sampler:  # noqa: N801
        set_epoch = staticmethod(lambda epoch: None)


def precise_statistics():
    model = small_model("batch_reduction")
    said = precise_bn(model, Passes([my_share(seed) for seed in range(3)]), 0, 200, CPU)
    assert said.startswith("precise batch norm: 3 batches")
    return dict(model.named_buffers())


def everything(folder):
    """All of the above, and the small things that are said between processes."""
    results = {s: five_steps(s) for s in ("batch_reduction", "multi_iteration")}
    results["boxes"], results["precise"] = box_gradient(), precise_statistics()
    assert list(chain(iter([rank(), "x"]))) == ([*_pairs()] if rank() == 0 else [])
    assert gather(rank()) == (list(range(world_size())) if rank() == 0 else [])
    assert broadcast(rank()) == 0 and highest(rank()) == world_size() - 1
    if rank() == 0:
        torch.save(results, folder / f"world{world_size()}.pt")


def _pairs():
    return (x for r in range(world_size()) for x in (r, "x"))


def fail(how):
    """Rank 1 fails, the others wait for it."""
    if rank() == 1:
        time.sleep(0.3)
        if how == "user":
            raise DataError("train.csv:7: no label")
        if how == "bug":
            raise KeyError("the real one")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(1000)
    dist.barrier()
