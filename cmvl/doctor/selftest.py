"""A few seconds of everything: a video written, decoded, and trained on."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import torch
from fvcore.common.config import CfgNode

from cmvl.config import load_cfg
from cmvl.data import build_loader
from cmvl.data.decode import open_video
from cmvl.doctor.findings import BROKEN, OK, Finding
from cmvl.engine.optim import build_optimizer
from cmvl.model import build_model
from cmvl.tasks import find_task
from cmvl.utils.environment import device_name

SIDE, FRAMES, FPS = 64, 40, 30
TINY = (
    "MODEL.NUM_CLASSES 2 RESNET.DEPTH 18 RESNET.STAGE_BLOCKS [1,1,1,1] RESNET.WIDTH_PER_GROUP 8 "
    "DATA.NUM_FRAMES 4 DATA.SAMPLING_RATE 4 DATA.TRAIN_CROP_SIZE 48 DATA.TEST_CROP_SIZE 48 "
    "DATA.TRAIN_JITTER_SCALES [48,52] DATA_LOADER.NUM_WORKERS 0 TRAIN.BATCH_SIZE 4 "
    "VIDEO.NUM_CLIPS 2 MEMORY.INTERACTION AssociativeMemory SOLVER.BASE_LR 0.01"
)


def self_test(folder: Path) -> Iterator[Finding]:
    """A video is written, decoded, and a model with the memory takes a training step on it."""
    paths = [folder / f"{i}.mp4" for i in range(2)]
    steps: list[tuple[str, Callable[[], str]]] = [
        ("write two videos", lambda: _write(paths)),
        ("decode them", lambda: _decode(paths)),
        ("a training step", lambda: _train_step(folder, paths)),
    ]
    for what, step in steps:
        start = time.perf_counter()
        try:
            said = step()
        except Exception as error:  # whatever it is, the reader is to see it
            yield Finding(what, BROKEN, f"{type(error).__name__}: {error}")
            return
        yield Finding(what, OK, f"{said}, {time.perf_counter() - start:.1f} s")


def _picture(video: int, k: int) -> np.ndarray:
    """Frame k: a ramp whose brightness tells its number."""
    ramp = np.linspace(0, 60, SIDE)[None, :, None] + np.zeros((SIDE, 1, 3))
    return (ramp + 4 * k + 20 * video).astype(np.uint8)


def _write(paths: list[Path]) -> str:
    codec = next(name for name in ("libx264", "mpeg4") if name in av.codecs_available)
    for i, path in enumerate(paths):
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=FPS)
            stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
            for k in range(FRAMES):
                frame = av.VideoFrame.from_ndarray(_picture(i, k), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return f"{codec}, {sum(path.stat().st_size for path in paths)} bytes"


def _decode(paths: list[Path]) -> str:
    worst = 0.0
    for i, path in enumerate(paths):
        with open_video(path) as video:
            if video.info.frames != FRAMES:
                raise RuntimeError(f"{FRAMES} frames were written, {video.info.frames} found")
            for k, frame in video.frames(range(0, FRAMES, 7)):
                worst = max(worst, abs(float(frame.mean()) - float(_picture(i, k).mean())))
    if worst > 2:
        raise RuntimeError(f"frames are {worst:.1f} levels off: another frame was decoded")
    return f"{FRAMES} frames each, brightness within {worst:.1f} levels of 255"


def _train_step(folder: Path, paths: list[Path]) -> str:
    lines = [f"{path.name} {i}\n" for i, path in enumerate(paths)]
    (folder / "train.csv").write_text("".join(lines))
    gpus = int(torch.cuda.is_available())
    place = ["DATA.PATH_TO_DATA_DIR", str(folder), "NUM_GPUS", str(gpus)]
    return train_step(load_cfg(None, [*place, *TINY.split()]))


def train_step(cfg: CfgNode) -> str:
    """One step on the first batch. Raises RuntimeError if the loss or a gradient is no number."""
    device = torch.device("cuda" if cfg.NUM_GPUS else "cpu")
    task = find_task(cfg.TASK)
    model = build_model(cfg, task.head).to(device).train()
    optimizer = build_optimizer(cfg, model)
    batch = next(iter(build_loader(cfg, "train"))).to(device)
    loss = task.loss(cfg)(model(batch.clips, batch.boxes), *batch.targets)["loss"]
    loss.backward()
    optimizer.step()
    gradient = sum(float(p.grad.abs().sum()) for p in model.memory.parameters())
    if not math.isfinite(loss.item()) or not 0 < gradient < math.inf:
        raise RuntimeError(f"the loss is {loss.item()}, the memory's gradient {gradient}")
    return f"loss {loss.item():.2f} on {device_name(device)}"
