"""Forward and backward of made-up clips as a training run does them; a peer's for comparison."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.config import load_cfg
from cmvl.config.validate import too_few
from cmvl.engine.fast import build_fast, lays_channels_last
from cmvl.engine.precision import Precision, allow_tf32, build_precision
from cmvl.engine.setup import find_device
from cmvl.model import build_model
from cmvl.tasks import find_task
from cmvl.utils.environment import peak_memory
from cmvl.utils.errors import ConfigError

Step = Callable[[], None]
MEAN, STD = 0.45, 0.225
MULTI = ("VIDEO.STRATEGY", "multi_iteration")
STRATEGIES = {  # what is changed in the config
    "batch reduction": (),
    "multi-iteration": MULTI,
    "2 clips at once": (*MULTI, "VIDEO.CLIPS_AT_ONCE", "2"),
}


@dataclass(frozen=True, order=True)
class Cost:
    """Seconds that something took; `system` of them were the kernel's, known on a CPU only."""

    seconds: float
    system: float = 0.0


@dataclass(frozen=True)
class Work:
    """A step's config and input: `videos` x `clips` of the config's size, on its device."""

    file: str
    opts: tuple[str, ...]
    videos: int
    clips: int

    def cfg(self, changes: Sequence[str] = ()) -> CfgNode:
        pairs = ["VIDEO.NUM_CLIPS", str(self.clips), "VIDEO.STRATEGY", "batch_reduction"]
        return load_cfg(self.file, [*pairs, *self.opts, *changes])

    @property
    def device(self) -> torch.device:
        return find_device(self.cfg())

    def batch(self) -> tuple[Tensor, Tensor]:
        """Clips uint8 (videos, clips, 3, T, H, W) and labels."""
        return made_up(self.cfg(), self.videos, self.clips, self.device)


def made_up(cfg: CfgNode, videos: int, clips: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Clips uint8 (videos, clips, 3, T, H, W), and labels as the task has them: of class 0."""
    refuse_boxes(cfg)
    if too_few(cfg, videos):
        raise ConfigError(
            f"--videos {videos}: MEMORY.NORM {cfg.MEMORY.NORM} takes its statistics over the "
            "videos of a step: take 2 or more, or --opts MEMORY.NORM layer"
        )
    side = cfg.DATA.TRAIN_CROP_SIZE
    shape = (videos, clips, 3, cfg.DATA.NUM_FRAMES, side, side)
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    labels = torch.zeros(videos, dtype=torch.int64, device=device)
    several = cfg.TASK == "multi_label"
    return pixels, F.one_hot(labels, cfg.MODEL.NUM_CLASSES).float() if several else labels


def refuse_boxes(cfg: CfgNode) -> None:
    if cfg.TASK == "detection":
        raise ConfigError("TASK detection takes boxes: `tools/benchmark.py ava` times its nets")


def our_step(work: Work, changes: Sequence[str] = ()) -> Step:
    """In the config's precision, memory layout and so on; the optimizer has no part in it."""
    cfg = work.cfg(changes)
    task, precision = find_task(cfg.TASK), precision_of(work, cfg)
    clips, labels = work.batch()
    model, loss = build_model(cfg, task.head).to(work.device).train(), task.loss(cfg)
    build_fast(cfg, model)

    def step() -> None:
        allow_tf32(cfg.MODEL.TF32)
        model.zero_grad(set_to_none=True)
        with precision.autocast():
            value = loss(model(clips), labels)["loss"]
        value.backward()

    return step


def peers_step(work: Work, changes: Sequence[str] = ()) -> Step:
    """The same net of pytorchvideo, on clips of floats that it takes as it gets them."""
    cfg = work.cfg(changes)
    precision, model = precision_of(work, cfg), peer(cfg).to(work.device).train()
    if lays_channels_last(cfg, work.device):
        model = model.to(memory_format=torch.channels_last_3d)
    if cfg.MODEL.COMPILE:
        model.compile()
    clips, labels = work.batch()
    flat = ((clips.flatten(0, 1).float() / 255) - MEAN) / STD
    labels = labels.repeat_interleave(work.clips, dim=0)
    frames: Tensor | list[Tensor] = flat
    if cfg.MODEL.BACKBONE == "SlowFast":
        frames = [flat[:, :, :: cfg.SLOWFAST.ALPHA].contiguous(), flat]

    def step() -> None:
        allow_tf32(cfg.MODEL.TF32)
        model.zero_grad(set_to_none=True)
        # It pools inside its pathways and keeps those it is given in a list of its own.
        given = list(frames) if isinstance(frames, list) else frames
        with precision.autocast():
            value = F.cross_entropy(model(given), labels)
        value.backward()

    return step


def peer(cfg: CfgNode) -> nn.Module:
    """pytorchvideo's Slow-only or SlowFast of the config's depth, for its size of crop."""
    from pytorchvideo.models.resnet import create_resnet
    from pytorchvideo.models.slowfast import create_slowfast

    side, T = -(-cfg.DATA.TRAIN_CROP_SIZE // 32), cfg.DATA.NUM_FRAMES
    sizes = {"model_depth": cfg.RESNET.DEPTH, "model_num_class": cfg.MODEL.NUM_CLASSES}
    if cfg.MODEL.BACKBONE == "SlowFast":
        pools = ((T // cfg.SLOWFAST.ALPHA, side, side), (T, side, side))
        return create_slowfast(head_pool_kernel_sizes=pools, **sizes)
    return create_resnet(
        stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=(T, side, side), **sizes
    )


def precision_of(work: Work, cfg: CfgNode) -> Precision:
    return build_precision(cfg.TRAIN.PRECISION, work.device)


def cost_of(step: Callable[[], object], device: torch.device) -> Cost:
    """On a CPU the processor's time, which other jobs disturb least."""
    if device.type == "cpu":
        start, system = time.process_time(), os.times().system
        step()
        return Cost(time.process_time() - start, os.times().system - system)
    start = time.perf_counter()
    step()
    torch.cuda.synchronize(device)
    return Cost(time.perf_counter() - start)


class StepHere:
    """In this process, on a GPU, whose allocator keeps the steps' memory apart; a context."""

    def __init__(self, make: Callable[..., Step], work: Work, changes: Sequence[str] = ()):
        self.step, self.device = make(work, changes), work.device
        self.mib = 0.0  # of tensors that the last step added: activations, and what else it needs

    def take(self) -> Cost:
        before = torch.cuda.memory_allocated(self.device) / 2**30
        torch.cuda.reset_peak_memory_stats(self.device)
        cost = cost_of(self.step, self.device)
        self.mib = round(1024 * (peak_memory(self.device) - before), 1)
        return cost

    def __enter__(self) -> "StepHere":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to leave."""
