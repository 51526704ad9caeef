"""What the memory did in one video: who read whom, and which channels the gates moved.

N clips, K classes, d channels of a pathway.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmvl.layers.half import widen
from cmvl.memory.infusion import FeatureGating
from cmvl.memory.interaction import AssociativeMemory
from cmvl.model import as_matrices
from cmvl.report.trained import Trained


@dataclass(frozen=True)
class PathwayMemory:
    """Of one pathway; None where its memory has no affinity, or its infusion no gate."""

    name: str
    affinity: NDArray[np.float64] | None  # (N, N): clip n reading clip m
    gates: NDArray[np.float64] | None  # (N, d) in 0..1
    pull: NDArray[np.float64] | None  # (d,), see `explain`

    def strongest(self, n: int) -> list[int]:
        """The n channels with the largest pull, the largest first."""
        return np.argsort(-np.abs(self.pull), kind="stable")[:n].tolist()


@torch.inference_mode()
def explain(trained: Trained, maps: Sequence[Tensor], S: int, k: int) -> list[PathwayMemory]:
    """Of maps (1, V S, d, t, h, w) in S crops each, of which the centre ones count.

    The pull of a channel on class k: what its gate adds to that class's logit (less the mean of
    all logits, where scores are a softmax) more than a gate of 0.5 would, as a mean over clips.
    """
    memory, weights = trained.model.memory, trained.model.head.projection.weight.detach()
    several = trained.cfg.TASK == "multi_label"
    w = weights[k] - (0 if several else weights.mean(dim=0))  # (sum of d,)
    X = [widen(x[:, S // 2 :: S]) for x in as_matrices(maps)]
    M_n = memory.pop(memory.push(X), X)
    parts = w.split([x.shape[-1] for x in X])
    names = ("slow", "fast") if len(X) == 2 else [str(p) for p in range(len(X))]
    found = []
    for p, (x, m_n, w_p) in enumerate(zip(X, M_n, parts, strict=True)):
        interaction, infusion = memory.interactions[p], memory.infusions[p]
        affinity = gates = pull = None
        if isinstance(interaction, AssociativeMemory):
            affinity = _array(interaction.affinity(x)[0])
        if isinstance(infusion, FeatureGating):
            gate = infusion.gate(m_n)[0, :, 0]  # (N, d)
            pull = _array(((gate - 0.5) * x[0].mean(dim=1) * w_p).mean(dim=0))
            gates = _array(gate)
        found.append(PathwayMemory(names[p], affinity, gates, pull))
    return found


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.double().cpu().numpy()
