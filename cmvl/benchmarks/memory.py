"""Peak memory of one training step against N, for both strategies of Sec. 3.3."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from cmvl.config import load_cfg
from cmvl.encode import ENCODINGS
from cmvl.model import build_model
from cmvl.tasks import find_task
from cmvl.utils.environment import peak_memory


def peak_mib(file: str, opts: Sequence[str], strategy: str, N: int, videos: int) -> float:
    """MiB that one forward and backward of `videos` x N clips adds to the built model.

    On a GPU of its tensors; on a CPU of the whole process, which must be a fresh one, since its
    peak never falls.
    """
    cfg = load_cfg(file, [*opts, "VIDEO.NUM_CLIPS", str(N), "VIDEO.STRATEGY", strategy])
    task, device = find_task(cfg.TASK), torch.device("cuda" if cfg.NUM_GPUS else "cpu")
    torch.manual_seed(0)
    model = build_model(cfg, task.head).to(device).train()
    shape = (cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TRAIN_CROP_SIZE)
    clips = torch.randint(0, 256, (videos, N, 3, *shape), dtype=torch.uint8, device=device)
    labels = torch.zeros(videos, dtype=torch.int64, device=device)
    before = peak_memory(device)
    task.loss(cfg)(model(clips), labels)["loss"].backward()
    return 1024 * (peak_memory(device) - before)


def memory_table(
    file: str, opts: Sequence[str], clips: Sequence[int], videos: int
) -> dict[str, dict[int, float]]:
    """Peaks by strategy and N, each measured in a process of its own."""
    table: dict[str, dict[int, float]] = {}
    for strategy in ENCODINGS:
        for N in clips:
            table.setdefault(strategy, {})[N] = fresh_peak(file, opts, strategy, N, videos)
    return table


def fresh_peak(file: str, opts: Sequence[str], strategy: str, N: int, videos: int) -> float:
    """`peak_mib` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return round(fresh.submit(peak_mib, file, opts, strategy, N, videos).result(), 1)
