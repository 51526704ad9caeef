"""Time of a video's test in all its views: without the memory, and with it."""

from collections.abc import Sequence
from functools import partial

import torch

from cmvl.benchmarks.train import BARE, OURS, seconds_of
from cmvl.config import load_cfg
from cmvl.inference import classify_video
from cmvl.model import build_model
from cmvl.tasks import find_task


def view_seconds(file: str, opts: Sequence[str], repeats: int) -> dict[str, float]:
    """Seconds of one video of made-up views by cell; the least of several interleaved repeats.

    Every view passes the backbone once in both; what the memory adds is its own arithmetic.
    """
    device, tests = torch.device("cpu"), {}
    for name in (BARE, "memory"):
        cfg = load_cfg(file, [*opts, *OURS[name]])
        device = torch.device("cuda" if cfg.NUM_GPUS else "cpu")
        torch.manual_seed(0)
        model = build_model(cfg, find_task(cfg.TASK).head).to(device).eval()
        V, S, side = (
            cfg.TEST.NUM_ENSEMBLE_VIEWS,
            cfg.TEST.NUM_SPATIAL_CROPS,
            cfg.DATA.TEST_CROP_SIZE,
        )
        shape = (V, S, 3, cfg.DATA.NUM_FRAMES, side, side)
        views = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
        tests[name] = partial(classify_video, model, views, cfg.TEST.CHUNK)
    least = dict.fromkeys(tests, float("inf"))
    for _ in range(repeats):
        for name, test in tests.items():
            least[name] = min(least[name], seconds_of(test, device))
    return least
