"""What differs between tasks, in one table."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from cmvl.evaluation.classification import TopK
from cmvl.evaluation.detection import FrameMeanAP
from cmvl.evaluation.multilabel import MeanAP
from cmvl.evaluation.results import Listing
from cmvl.heads import PooledHead, RoIHead
from cmvl.inference import (
    Activation,
    build_box_predictor,
    build_view_predictor,
    sigmoid,
    softmax,
)
from cmvl.losses import BoxLoss, VideoLoss, build_multi_label_loss
from cmvl.utils.errors import ConfigError


class Evaluator(Protocol):
    """Collects what the task's predictor yields, one video (or key frame) after another."""

    def update(self, scores: Tensor, target: Any, index: int) -> None: ...

    def compute(self) -> dict[str, float]: ...

    def by_position(self) -> list[float]: ...

    def save(self, folder: Path, listing: Listing) -> str:
        """Write its own files of a test's results; returns what the log is to say besides."""


@dataclass(frozen=True)
class Task:
    """head(cfg, dims, stride), loss(cfg), predictor(cfg, split), evaluator(cfg, split), and what
    makes scores of logits."""

    head: Callable
    loss: Callable
    predictor: Callable
    evaluator: Callable
    activation: Activation


pooled = PooledHead.from_cfg
view_scores, box_scores = build_view_predictor, build_box_predictor
label_scores = partial(build_view_predictor, activation=sigmoid)

TASKS = {
    #                      head    loss                    predictor     evaluator        scores
    "classification": Task(pooled, VideoLoss.from_cfg, view_scores, TopK.from_cfg, softmax),
    "multi_label": Task(pooled, build_multi_label_loss, label_scores, MeanAP.from_cfg, sigmoid),
    "detection": Task(
        RoIHead.from_cfg, BoxLoss.from_cfg, box_scores, FrameMeanAP.from_cfg, sigmoid
    ),
}


def find_task(name: str) -> Task:
    """The row of `name`."""
    if name not in TASKS:
        raise ConfigError(f"TASK is {name!r}; it can be {' | '.join(TASKS)}")
    return TASKS[name]
