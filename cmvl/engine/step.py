"""One step of training: forward, backward, update, over all processes."""

from collections.abc import Sequence
from contextlib import nullcontext
from inspect import signature

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from cmvl.engine.optim import set_lr
from cmvl.engine.precision import Precision, build_precision
from cmvl.engine.transfer import Transfer
from cmvl.model import VideoModel
from cmvl.structures import VideoBatch
from cmvl.utils.distributed import world_size
from cmvl.utils.errors import ConfigError


class Stepper:
    """Called with the batches of a step (one for each backward pass) and its learning rate.

    `max_norm`: largest gradient norm, 0 for no limit. `guard`: a step whose gradient is no number
    changes nothing, at the price of waiting for the device every step.
    """

    def __init__(
        self,
        model: VideoModel,
        optimizer: Optimizer,
        loss_fn: nn.Module,
        precision: Precision,
        max_norm: float = 0.0,
        guard: bool = False,
    ):
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.precision, self.scaler = precision, precision.scaler()
        self.max_norm, self.guard = max_norm, guard
        self._transfer = Transfer(precision.device)
        self._parallel = _parallel(model) if world_size() > 1 else model

    def __call__(self, batches: Sequence[VideoBatch], lr: float) -> dict[str, float | Tensor]:
        """What the loss says, gradient norm and the gate's statistics, as means of this process."""
        set_lr(self.optimizer, lr)
        self.optimizer.zero_grad(set_to_none=True)
        buffers = [b.clone() for b in self.model.buffers()] if self.guard else []
        shares = self.loss_fn.shares([batch.labels for batch in batches])
        passes = len(batches)
        said = [
            self._backward(batch, share / passes, last=n == passes)
            for n, (batch, share) in enumerate(zip(batches, shares, strict=True), 1)
        ]
        values = self._update(buffers)
        losses = {name: sum(terms[name] for terms in said) for name in said[0]}
        return {**losses, "lr": lr, **values, **self.model.memory.gate_statistics()}

    def _backward(self, batch: VideoBatch, part: float, last: bool) -> dict[str, Tensor]:
        """What the loss says, times `part`, and the gradients of that."""
        batch = self._transfer(batch)
        # Gradients of the passes add up here; the last one's backward adds up over processes.
        alone = world_size() > 1 and not last
        with self._parallel.no_sync() if alone else nullcontext():
            with self.precision.autocast():
                logits = self._parallel(batch.clips, batch.boxes)
                found = self.loss_fn(logits, *batch.targets)
            terms = {name: part * value for name, value in found.items()}
            self.scaler.scale(terms["loss"]).backward()
        return {name: value.detach() for name, value in terms.items()}

    def _update(self, buffers: list[Tensor]) -> dict[str, Tensor]:
        self.scaler.unscale_(self.optimizer)
        learning = [p for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in learning])
        if self.max_norm:
            nn.utils.clip_grads_with_norm_(learning, self.max_norm, norm)
        if self.guard and not torch.isfinite(norm):
            for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(before)
            if not self.scaler.is_enabled():
                return {"grad_norm": norm}
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if not self.scaler.is_enabled():
            return {"grad_norm": norm}
        # An overflow is the scaler's daily business: it skips the step and lowers its scale.
        overflow = (~torch.isfinite(norm)).float()
        return {"grad_norm": torch.nan_to_num(norm, 0.0, 0.0, 0.0), "overflow": overflow}


def _parallel(model: VideoModel) -> DistributedDataParallel:
    """Gradients become the mean over processes.

    Buffers stay each process's own: training reads no running statistics, `share_buffers` sends
    them to evaluations, and a few hundred small copies before every pass are saved.
    """
    known = signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DistributedDataParallel(model, **{name: False})


def build_stepper(
    cfg: CfgNode, model: VideoModel, optimizer: Optimizer, loss_fn: nn.Module, device: torch.device
) -> Stepper:
    """Raises ConfigError for training in float16 on a CPU."""
    if cfg.TRAIN.PRECISION == "float16" and device.type == "cpu":
        raise ConfigError("TRAIN.PRECISION float16 is for GPUs; on a CPU set float32 or bfloat16")
    return Stepper(
        model,
        optimizer,
        loss_fn,
        build_precision(cfg.TRAIN.PRECISION, device),
        cfg.SOLVER.CLIP_GRAD_L2NORM,
        guard=cfg.SOLVER.NONFINITE > 0,
    )
