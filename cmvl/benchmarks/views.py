"""Time of a video's test in all its views: without the memory, and with it."""

from collections.abc import Callable, Sequence

import torch
from fvcore.common.config import CfgNode

from cmvl.benchmarks.step import cost_of, refuse_boxes
from cmvl.benchmarks.train import BARE, MEMORY, OURS
from cmvl.config import load_cfg
from cmvl.engine.fast import build_fast
from cmvl.engine.precision import build_precision
from cmvl.engine.setup import find_device
from cmvl.inference import classify_video
from cmvl.model import build_model
from cmvl.tasks import find_task


def view_seconds(file: str, opts: Sequence[str], repeats: int) -> dict[str, float]:
    """Seconds of one video of made-up views by cell; the least of several interleaved repeats.

    Every view passes the backbone once in both; what the memory adds is its own arithmetic.
    """
    cfgs = {name: load_cfg(file, [*opts, *OURS[name]]) for name in (BARE, MEMORY)}
    refuse_boxes(cfgs[BARE])
    device = find_device(cfgs[BARE])
    tests = {name: _test(cfg, device) for name, cfg in cfgs.items()}
    least = dict.fromkeys(tests, float("inf"))
    for _ in range(repeats):
        for name, test in tests.items():
            least[name] = min(least[name], cost_of(test, device).seconds)
    return least


def _test(cfg: CfgNode, device: torch.device) -> Callable[[], None]:
    """As a run tests: in TEST.PRECISION and the model's memory layout."""
    torch.manual_seed(0)
    model = build_model(cfg, find_task(cfg.TASK).head).to(device).eval()
    build_fast(cfg, model)
    V, S = cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.NUM_SPATIAL_CROPS
    shape = (V, S, 3, cfg.DATA.NUM_FRAMES, cfg.DATA.TEST_CROP_SIZE, cfg.DATA.TEST_CROP_SIZE)
    views = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    precision = build_precision(cfg.TEST.PRECISION, device)

    def test() -> None:
        with precision.autocast():
            classify_video(model, views, cfg.TEST.CHUNK)

    return test
