"""Peak memory of one training step against N, for both strategies of Sec. 3.3."""

from collections.abc import Sequence

from cmvl.benchmarks.apart import added_mib
from cmvl.benchmarks.step import STRATEGIES, Work


def memory_table(
    file: str, opts: Sequence[str], clips: Sequence[int], videos: int
) -> dict[str, dict[int, float]]:
    """MiB that a step of `videos` x N clips adds, by strategy and N."""
    return {
        name: {N: added_mib(Work(file, tuple(opts), videos, N), changes) for N in clips}
        for name, changes in STRATEGIES.items()
    }
