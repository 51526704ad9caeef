"""One residual pathway as numbers, and parallel pathways as one module.

Four-tuples go over res2..res5. Config values are accepted as four numbers or in PySlowFast's
form, one list per stage with a number per pathway.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.layers.nonlocal_block import AFFINITIES, NonLocal
from cmvl.layers.resnet3d import Basic, Bottleneck, stage
from cmvl.utils.errors import ConfigError

BLOCKS = {
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BASIC = (18, 34)  # depths with basic blocks
Kernels = tuple[tuple[int, ...], ...]  # temporal kernels of a stage's blocks, repeated in turn


@dataclass(frozen=True)
class Pathway:
    """What makes one pathway, apart from its temporal kernels."""

    depth: int = 50
    width: int = 64  # channels of the stem
    stage_blocks: tuple[int, ...] = ()  # () : the depth's
    temporal_blocks: tuple[int, ...] = ()  # first blocks with temporal kernels; () : all
    branch_type: type[nn.Module] | None = None  # None: the depth's
    strides: tuple[int, ...] = (1, 2, 2, 2)  # spatial
    strides_t: tuple[int, ...] = (1, 1, 1, 1)  # temporal
    dilations: tuple[int, ...] = (1, 1, 1, 1)
    nonlocal_after: tuple[tuple[int, ...], ...] = ((), (), (), ())  # blocks, counted from 0
    nonlocal_pools: tuple[tuple[int, int, int], ...] = ((1, 2, 2),) * 4
    nonlocal_groups: tuple[int, ...] = (1, 1, 1, 1)
    affinity: str = "dot_product"

    def __post_init__(self):
        if self.depth not in BLOCKS:
            raise ConfigError(f"RESNET.DEPTH is {self.depth}; it can be {[*BLOCKS]}")
        if self.affinity not in AFFINITIES:
            raise ConfigError(
                f"NONLOCAL.INSTANTIATION is {self.affinity!r}; it can be {[*AFFINITIES]}"
            )
        for k, (after, count) in enumerate(zip(self.nonlocal_after, self.blocks, strict=True)):
            if any(i >= count for i in after):
                raise ConfigError(
                    f"NONLOCAL.LOCATION names block {max(after)} of res{k + 2}, which has blocks "
                    f"0 to {count - 1}"
                )

    @classmethod
    def from_cfg(cls, cfg: CfgNode, index: int = 0) -> "Pathway":
        """The pathway's numbers; `index` 1 is the fast one."""
        resnet, nonlocal_ = cfg.RESNET, cfg.NONLOCAL
        blocks = tuple(resnet.STAGE_BLOCKS)
        if blocks and (len(blocks) != 4 or min(blocks) < 1):
            raise ConfigError(
                f"RESNET.STAGE_BLOCKS is {list(blocks)}; it must be four counts, or []"
            )
        temporal = resnet.NUM_BLOCK_TEMP_KERNEL
        return cls(
            depth=resnet.DEPTH,
            width=resnet.WIDTH_PER_GROUP,
            stage_blocks=blocks,
            temporal_blocks=per_stage("RESNET.NUM_BLOCK_TEMP_KERNEL", temporal, index)
            if temporal
            else (),
            strides=per_stage("RESNET.SPATIAL_STRIDES", resnet.SPATIAL_STRIDES, index),
            dilations=per_stage("RESNET.SPATIAL_DILATIONS", resnet.SPATIAL_DILATIONS, index),
            nonlocal_after=locations(nonlocal_.LOCATION, index),
            nonlocal_pools=per_stage("NONLOCAL.POOL", nonlocal_.POOL, index, of=(3,)),
            nonlocal_groups=per_stage("NONLOCAL.GROUP", nonlocal_.GROUP, index),
            affinity=nonlocal_.INSTANTIATION,
        )

    @property
    def branch(self) -> type[nn.Module]:
        return self.branch_type or (Basic if self.depth in BASIC else Bottleneck)

    @property
    def blocks(self) -> tuple[int, ...]:
        return self.stage_blocks or BLOCKS[self.depth]

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels after the stem and after res2..res5."""
        return (self.width, *(self.width * 2**k * self.branch.expansion for k in range(4)))

    @property
    def stride(self) -> int:
        """Spatial, of res5; stem and pool halve twice."""
        return 4 * int(np.prod(self.strides))

    def stage(self, k: int, kernels: Kernels, d_lateral: int = 0) -> dict[str, nn.Module]:
        """Blocks of res{k}; `d_lateral` channels come from another pathway."""
        s = k - 2
        blocks, turn = self.blocks[s], kernels[s]
        temporal = self.temporal_blocks[s] if self.temporal_blocks else blocks
        return stage(
            self.branch,
            self.dims[s] + d_lateral,
            self.width * 2**s,
            [turn[i % len(turn)] if i < temporal else 1 for i in range(blocks)],
            (self.strides_t[s], self.strides[s], self.strides[s]),
            self.dilations[s],
            {i: self._nonlocal(s) for i in self.nonlocal_after[s]},
        )

    def _nonlocal(self, s: int) -> NonLocal:
        d = self.dims[s + 1]
        return NonLocal(d, d // 2, self.affinity, self.nonlocal_pools[s], self.nonlocal_groups[s])


class Pathways(nn.Module):
    """Chains of modules side by side, under PySlowFast's names: `pathway0_res1`."""

    def __init__(self, *chains: dict[str, nn.Module]):
        super().__init__()
        self.chains = [[f"pathway{p}_{name}" for name in chain] for p, chain in enumerate(chains)]
        for names, chain in zip(self.chains, chains, strict=True):
            for name, module in zip(names, chain.values(), strict=True):
                self.add_module(name, module)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One map per pathway in, one out."""
        out = []
        for x, names in zip(maps, self.chains, strict=True):
            for name in names:
                x = getattr(self, name)(x)
            out.append(x)
        return out


def per_stage(key: str, value: object, index: int, of: tuple[int, ...] = ()) -> tuple:
    """The pathway's entry for each of four stages; an entry has the shape `of`.

    Accepts one entry for all, one per stage, or one per stage and pathway.
    """
    try:
        table = np.array(value, dtype=int)
        if table.shape == of:
            table = np.broadcast_to(table, (4, *of))
        if table.ndim == 1 + len(of):
            table = table[:, None]
        column = table[:, min(index, table.shape[1] - 1)]
        if column.shape != (4, *of):
            raise ValueError
    except (ValueError, TypeError, IndexError):
        raise ConfigError(
            f"{key} is {value}; it must have one entry for each of 4 stages"
        ) from None
    return tuple(tuple(entry) for entry in column.tolist()) if of else tuple(column.tolist())


def locations(value: Sequence, index: int) -> tuple[tuple[int, ...], ...]:
    """NONLOCAL.LOCATION: blocks of each stage, or the same per pathway; plain ones are slow."""
    try:
        stages = [s if np.ndim(next(iter(s), 0)) else [s] for s in value]
        after = tuple(tuple(map(int, s[index])) if index < len(s) else () for s in stages)
        if len(after) == 4:
            return after
    except TypeError:
        pass
    raise ConfigError(f"NONLOCAL.LOCATION is {value}; it must list blocks for each of 4 stages")
