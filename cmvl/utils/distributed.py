"""The processes of a run: who I am, and the few things said between them.

Alone, every function is the identity; nothing here needs a process group then.
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    return dist.get_rank() if _together() else 0


def world_size() -> int:
    return dist.get_world_size() if _together() else 1


def is_main() -> bool:
    """Is this the process that writes files?"""
    return rank() == 0


def who_am_i() -> str:
    return f"rank {rank()} on {socket.gethostname()}"


def all_gather(x: Tensor) -> Tensor:
    """(world size, *x.shape): x of every process, which all have this shape."""
    if world_size() == 1:
        return x.unsqueeze(0)
    gathered = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(gathered, x.contiguous())
    return torch.stack(gathered)


def all_reduce(x: Tensor) -> Tensor:
    """The sum over processes, in place."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean over processes, in place."""
    return all_reduce(x).div_(world_size())


def share_buffers(module: nn.Module) -> None:
    """Running statistics and the like become the main process's, which a checkpoint has."""
    if world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def highest(value: int) -> int:
    """The largest of all processes' values; said over the CPU, so that no GPU waits for it."""
    if world_size() == 1:
        return value
    shared = torch.tensor(value)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return int(shared)


def gather(value: Any) -> list[Any]:
    """Every process's value in the order of ranks; empty but on the main process."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size() if is_main() else None
    dist.gather_object(value, values)
    return values or []


def chain(items: Iterable[Any]) -> Iterator[Any]:
    """All processes' items, on the main process, in the order of ranks; alone, as they come."""
    if world_size() == 1:
        yield from items
    else:
        yield from (item for part in gather(list(items)) for item in part)


def broadcast(value: Any) -> Any:
    """The main process's value."""
    box = [value]
    if world_size() > 1:
        dist.broadcast_object_list(box)
    return box[0]


def shard(items: Sequence[Any]) -> Sequence[Any]:
    """This process's share: every item is in exactly one, none is repeated."""
    return items[rank() :: world_size()]
