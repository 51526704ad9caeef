"""What differs between tasks, in one table."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from cmvl.evaluation.classification import TopK
from cmvl.evaluation.multilabel import MeanAP
from cmvl.heads import PooledHead
from cmvl.inference import predict_video
from cmvl.losses import VideoLoss, build_multi_label_loss
from cmvl.utils.errors import ConfigError


class Evaluator(Protocol):
    """Collects the scores of one video after another."""

    def update(self, scores: Tensor, labels: Tensor) -> None: ...

    def compute(self) -> dict[str, float]: ...

    def by_position(self) -> list[float]: ...


@dataclass(frozen=True)
class Task:
    """head(cfg, dims, stride), loss(cfg), predict(model, batch, crops, chunk), evaluator(cfg)."""

    head: Callable
    loss: Callable
    predict: Callable
    evaluator: Callable


predict_labels = partial(predict_video, activation=torch.sigmoid)

TASKS = {
    #                     head                 loss                    predict         evaluator
    "classification": Task(PooledHead.from_cfg, VideoLoss.from_cfg, predict_video, TopK.from_cfg),
    "multi_label": Task(
        PooledHead.from_cfg, build_multi_label_loss, predict_labels, MeanAP.from_cfg
    ),
}


def find_task(name: str) -> Task:
    """The row of `name`."""
    if name not in TASKS:
        raise ConfigError(f"TASK is {name!r}; it can be {' | '.join(TASKS)}")
    return TASKS[name]
