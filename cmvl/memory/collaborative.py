"""The collaborative memory of a whole model: the same memory, once per pathway."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.layers.half import HALF, widen
from cmvl.memory.build import INFUSIONS, INTERACTIONS
from cmvl.memory.infusion import FeatureGating, NoInfusion
from cmvl.memory.init import INITS
from cmvl.memory.interaction import AssociativeMemory, NoMemory
from cmvl.utils.errors import ConfigError
from cmvl.utils.registry import look_up


class CollaborativeMemory(nn.Module):
    """X, M and M_n are lists, one entry per pathway.

    Arithmetic is at least float32: Eq. 2 sums over all positions, too many for half precision.
    """

    def __init__(self, interactions: Iterable[nn.Module], infusions: Iterable[nn.Module]):
        super().__init__()
        self.interactions = nn.ModuleList(interactions)
        self.infusions = nn.ModuleList(infusions)

    def push(self, X: Sequence[Tensor]) -> list[Tensor]:
        with _full_precision(X):
            return [m.push(widen(x)) for m, x in zip(self.interactions, X, strict=True)]

    def pop(self, M: Sequence[Tensor], X: Sequence[Tensor]) -> list[Tensor]:
        with _full_precision(X):
            return [m.pop(g, widen(x)) for m, g, x in zip(self.interactions, M, X, strict=True)]

    def recall(self, M: Sequence[Tensor], X: Sequence[Tensor]) -> list[Tensor]:
        """`pop` for `infuse`: of a pathway whose gate needs no more, the mean over positions."""
        of_means = map(_means_suffice, self.interactions, self.infusions)
        X = [_mean(x) if m else x for m, x in zip(of_means, X, strict=True)]
        return self.pop(M, X)

    def infuse(self, X: Sequence[Tensor], M_n: Sequence[Tensor]) -> list[Tensor]:
        # A list: torch 2.6 stops compiling where a gate is kept, and cannot take up a strict zip.
        pathways = list(zip(self.infusions, X, M_n, strict=True))
        with _full_precision(X):
            return [g(widen(x), m) for g, x, m in pathways]

    def gate_statistics(self) -> dict[str, Tensor]:
        """Mean and saturation of the last gate, per pathway that has one."""
        gates = enumerate(self._gatings())
        return {f"{k}{p or ''}": v for p, g in gates for k, v in g.statistics().items()}

    def last_gates(self) -> dict[str, Tensor]:
        """The last gate itself, (B, N, 1, d), per pathway that has one."""
        return {f"gate{p or ''}": g.last_gate for p, g in enumerate(self._gatings())}

    def _gatings(self) -> list[FeatureGating]:
        gatings = [g for g in self.infusions if isinstance(g, FeatureGating)]
        return [g for g in gatings if g.last_gate is not None]  # all, or none before a first step


def _means_suffice(interaction: nn.Module, infusion: nn.Module) -> bool:
    """Eq. 3 is linear in X_n and Eq. 4 reads GAP(M_n) = (GAP(X_n) W_q) M.

    Not where pop or gate are a subclass's own, or a norm stands between.
    """
    popped = isinstance(interaction, AssociativeMemory) and type(interaction).pop
    linear = popped is AssociativeMemory.pop and interaction.norm_q.kind == "none"
    usual, kind = FeatureGating, type(infusion)
    gated = issubclass(kind, usual) and (kind.forward, kind.gate) == (usual.forward, usual.gate)
    return linear and gated


def _full_precision(X: Sequence[Tensor]) -> AbstractContextManager:
    device = X[0].device.type
    # Only where there is something to switch off: torch 2.6 cannot write such a part to a file.
    on = torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()


def _mean(x: Tensor) -> Tensor:
    """(B, N, k, d) -> (B, N, 1, d), not rounded to half precision, nor x widened as a whole."""
    return x.mean(dim=2, keepdim=True, dtype=torch.float32 if x.dtype in HALF else None)


def build_memory(cfg: CfgNode, dims: Sequence[int]) -> CollaborativeMemory:
    """One memory for every pathway of `dims` channels, or the null memory where none is asked."""
    interactions, infusions = [], []
    for pathway, d in enumerate(dims):
        wanted = cfg.MEMORY.INTERACTION != "NoMemory"
        if wanted and (cfg.MEMORY.PATHWAYS == "all" or pathway == 0):
            interaction, infusion = build_pair(cfg, d)
        else:
            interaction, infusion = NoMemory(), NoInfusion()
        interactions.append(interaction)
        infusions.append(infusion)
    return CollaborativeMemory(interactions, infusions)


def build_pair(cfg: CfgNode, d: int) -> tuple[nn.Module, nn.Module]:
    memory = cfg.MEMORY
    if d < memory.REDUCTION:
        raise ConfigError(f"MEMORY.REDUCTION {memory.REDUCTION} leaves no channel of {d}")
    d_mem, each = d // memory.REDUCTION, memory.NORM == "batch_each"
    interaction = look_up(INTERACTIONS, "MEMORY.INTERACTION", memory.INTERACTION)
    infusion = look_up(INFUSIONS, "MEMORY.INFUSION", memory.INFUSION)
    norm = "batch" if each else memory.NORM
    pair = (
        interaction(d, d_mem, bias=memory.BIAS, norm_each=each),
        infusion(d, d_mem, bias=memory.BIAS, norm=norm),
    )
    INITS[memory.INIT](*pair)
    return pair
