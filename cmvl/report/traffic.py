"""What a step of training computes and what its processes send each other, counted from a config.

N clips of a video, n processes. Nothing here is measured; seconds follow from a `Machine`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.config import batch_plan
from cmvl.encode import iterations
from cmvl.engine.freeze import build_frozen, train_mode
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d
from cmvl.model import VideoModel, build_model
from cmvl.report.flops import count
from cmvl.report.machine import GPUS, Machine
from cmvl.tasks import find_task

FLOAT32 = 4  # bytes; weights, their gradients and statistics, at any precision of the step


@dataclass(frozen=True)
class Statistics:
    """What synchronised norms say in a pass: collectives, and numbers one process puts into them.

    Means and variances are gathered on the way forward (every process gets all), two sums of
    gradients reduced on the way back (`cmvl.layers.grouped_norm`).
    """

    gathers: int
    gathered: int
    reduces: int
    reduced: int

    @property
    def collectives(self) -> int:
        return self.gathers + self.reduces

    def sent(self, n: int) -> float:
        """Bytes that each of n processes sends in rings."""
        return FLOAT32 * ((n - 1) * self.gathered + reduce_factor(n) * self.reduced)


def reduce_factor(n: int) -> float:
    """How often each of n processes sends its numbers until all have the sum, in a ring."""
    return 2 * (n - 1) / n


@dataclass(frozen=True)
class Net:
    """One config's numbers: operations (2 for a multiply-add), parameters, norms."""

    cfg: CfgNode
    N: int
    train: float  # forward and backward of a clip at the training crop
    test: float  # forward of a view, in proportion to its area
    parameters: int
    learning: int  # of them, those with a gradient
    buffers: int
    statistics: Statistics  # of one forward and backward pass, no matter of how many videos


def measure(cfg: CfgNode) -> Net:
    side = cfg.DATA.TRAIN_CROP_SIZE
    with torch.device("meta"):
        model = build_model(cfg, find_task(cfg.TASK).head)
    build_frozen(cfg, model)
    forward = count(cfg, side).flops
    return Net(
        cfg=cfg,
        N=cfg.VIDEO.NUM_CLIPS,
        train=passes_of_backbone(cfg) * forward,
        test=forward * (cfg.DATA.TEST_CROP_SIZE / side) ** 2,
        parameters=_elements(model.parameters()),
        learning=_elements(p for p in model.parameters() if p.requires_grad),
        buffers=_elements(model.buffers()),
        statistics=statistics(cfg, model),
    )


def passes_of_backbone(cfg: CfgNode) -> float:
    """In forward passes of all clips: a backward is two, scan 2 of multi-iteration most of one."""
    if cfg.MODEL.FREEZE_BACKBONE:
        return 1
    return 3 + _run_again(cfg)


def _run_again(cfg: CfgNode) -> float:
    """The share of a video's clips that scan 2 takes once more."""
    plan = batch_plan(cfg)
    return 1 - plan.at_once / plan.clips


def _iterations(cfg: CfgNode) -> list[int]:
    """Clips of a video in each forward pass of the backbone."""
    plan = batch_plan(cfg)
    return iterations(plan.clips, plan.at_once)


def statistics(cfg: CfgNode, model: VideoModel) -> Statistics:
    """Batch reduction: a norm serves the N groups of a pass in one call. Multi-iteration calls the
    backbone for every iteration, all but the last one twice; the memory sees all clips at once.
    """
    if not cfg.BN.SYNC:
        return Statistics(0, 0, 0, 0)
    train_mode(model)
    groups, calls = cfg.VIDEO.NUM_CLIPS if cfg.BN.CLIPWISE else 1, len(_iterations(cfg))
    backbone, memory = _synchronised(model.backbone, groups), _synchronised(model.memory, groups)
    return Statistics(
        gathers=(2 * calls - 1) * len(backbone) + len(memory),
        gathered=round(2 * ((1 + _run_again(cfg)) * sum(backbone) + sum(memory))),
        reduces=calls * len(backbone) + len(memory),
        reduced=2 * (sum(backbone) + sum(memory)),
    )


def _synchronised(part: nn.Module, groups: int) -> list[int]:
    """Means of a pass, of each norm that takes a batch's statistics: one a channel and group."""
    norms = [m for m in part.modules() if isinstance(m, ClipwiseBatchNorm3d) and m.training]
    return [m.num_features * (groups if m.clipwise else 1) for m in norms]


def _elements(tensors: Iterator[Tensor]) -> int:
    return sum(t.numel() for t in tensors)


@dataclass(frozen=True)
class Step:
    """Of all processes; times in seconds."""

    gpus: int
    videos: int
    compute: float
    gradients: float
    collectives: int  # of synchronised norms
    norms: float

    @property
    def lost(self) -> float:
        """Share of the time, if none of the traffic hides behind the computing."""
        traffic = self.gradients + self.norms
        return traffic / (self.compute + traffic)


def step(net: Net, machine: Machine, machines: int) -> Step:
    """On `machines` of 8 GPUs, with the config's clip budget for each of them.

    Gradients are summed once a step, statistics in each of its backward passes.
    """
    cfg = net.cfg.clone()
    cfg.defrost()
    cfg.merge_from_list(["TRAIN.BATCH_SIZE", machines * cfg.TRAIN.BATCH_SIZE])
    n = machines * GPUS
    plan = batch_plan(cfg, n)
    rate, latency = machine.network(machines)
    waits = net.statistics.collectives * latency
    return Step(
        gpus=n,
        videos=plan.step_videos,
        compute=plan.passes * plan.videos * plan.clips * net.train / machine.rate,
        gradients=reduce_factor(n) * FLOAT32 * net.learning / rate,
        collectives=plan.passes * net.statistics.collectives,
        norms=plan.passes * (net.statistics.sent(n) / rate + waits),
    )
