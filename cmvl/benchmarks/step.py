"""Forward and backward of made-up clips as a training run does them; a peer's for comparison."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.config import load_cfg
from cmvl.engine.fast import build_fast, lays_channels_last
from cmvl.engine.precision import Precision, allow_tf32, build_precision
from cmvl.model import build_model
from cmvl.tasks import find_task
from cmvl.utils.environment import peak_memory

Step = Callable[[], None]
MEAN, STD = 0.45, 0.225


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
        return torch.device("cuda" if self.cfg().NUM_GPUS else "cpu")

    def batch(self) -> tuple[Tensor, Tensor]:
        """Clips uint8 (videos, clips, 3, T, H, W) and labels (videos,)."""
        cfg = self.cfg()
        side = cfg.DATA.TRAIN_CROP_SIZE
        shape = (self.videos, self.clips, 3, cfg.DATA.NUM_FRAMES, side, side)
        torch.manual_seed(0)
        clips = torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)
        return clips, torch.zeros(self.videos, dtype=torch.int64, device=self.device)


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
    labels = labels.repeat_interleave(work.clips)
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
    return build_precision(cfg, cfg.TRAIN.PRECISION, work.device)


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """On a CPU the processor's time, which other jobs disturb least."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def added_mib(work: Work, changes: Sequence[str] = ()) -> float:
    """MiB that a step adds to the built model, in a process of its own: a CPU's peak never falls.

    On a GPU of its tensors; on a CPU of the whole process.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return round(fresh.submit(_added_mib, work, changes).result(), 1)


def step_mib(step: Step, device: torch.device) -> float:
    """MiB of tensors that one more step adds on a GPU: activations, and what else it needs."""
    before = torch.cuda.memory_allocated(device) / 2**30
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return round(1024 * (peak_memory(device) - before), 1)


def _added_mib(work: Work, changes: Sequence[str]) -> float:
    step = our_step(work, changes)
    before = peak_memory(work.device)
    step()
    return 1024 * (peak_memory(work.device) - before)
