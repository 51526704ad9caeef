"""The demo videos as H.264 files, with their lists."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from cmvl.data.demo.plan import CLASSES, SPLITS, Plan, plan_video
from cmvl.data.demo.scene import FPS, HEIGHT, WIDTH, render
from cmvl.utils.files import whole

Job = tuple[str, str, int, int]  # task, split, number, seed


@dataclass(frozen=True)
class Preset:
    """Its sets, the first with all videos; every `step`-th frame at 1 / `shrink` of the size."""

    tasks: tuple[str, ...]
    step: int = 1
    shrink: float = 1.0


PRESETS = {
    "relation": Preset(("relation", "events")),
    "cue": Preset(("cue", "paints"), step=6, shrink=1.75),  # 64 x 48 at 5 fps: for many short runs
    "alike": Preset(("relation", "events"), step=6, shrink=1.75),  # "relation" in that size
}


def write_demo(
    out: Path,
    train: int = 320,
    val: int = 40,
    test: int = 160,
    seed: int = 0,
    workers: int = 2,
    preset: str = "relation",
) -> None:
    """Write a preset's sets: OUT/relation with these numbers of videos, OUT/events with half.

    Each has {train,val,test}.csv, lines `path label` in Kinetics' form, classes.txt and truth.json
    (what happens in each video). Equal arguments give equal videos; files of an earlier call with
    the same seed are kept.
    """
    out = Path(out)
    counts = dict(zip(SPLITS, (train, val, test), strict=True))
    look = PRESETS[preset]
    jobs = list(_jobs(look.tasks, counts, seed))
    for task in look.tasks:
        for split in SPLITS:
            (out / task / split).mkdir(parents=True, exist_ok=True)
    make = partial(write_video, look=look)
    make_missing(make, {out / _path(job): job for job in jobs}, out, seed, workers)
    for task in look.tasks:
        _write_lists(out / task, [job for job in jobs if job[0] == task])


def write_video(job: Job, path: Path, look: Preset) -> None:
    plan, rng = _plan(job)
    size = round(WIDTH / look.shrink), round(HEIGHT / look.shrink)
    pictures = render(plan, rng, look.step)
    small = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures)
    encode(path, small, FPS // look.step, size)


def make_missing(
    make: Callable[[Job, Path], None], jobs: dict[Path, Job], out: Path, seed: int, workers: int
) -> None:
    """make(job, path) where there is no file of this seed; OUT/seed.txt tells that of the files."""
    mark = out / "seed.txt"
    known = mark.exists() and int(mark.read_text()) == seed
    todo = {path: job for path, job in jobs.items() if not (known and path.exists())}
    if todo:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for _ in pool.map(make, todo.values(), todo, chunksize=4):
                pass
    mark.write_text(f"{seed}\n")


def encode(
    path: Path,
    pictures: Iterator[NDArray[np.uint8]],
    fps: int,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> None:
    """One file, whole or not at all."""
    with whole(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        stream.thread_count = 1
        # Short groups of pictures and fast decoding, as data prepared for training has.
        stream.options = {"crf": "26", "preset": "veryfast", "g": "32", "tune": "fastdecode"}
        # With its lookahead x264 does not write the same bytes every time.
        stream.options |= {"x264-params": "threads=1:sync-lookahead=0:rc-lookahead=0"}
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))


def _jobs(tasks: tuple[str, ...], counts: dict[str, int], seed: int) -> Iterator[Job]:
    for task in tasks:
        for split, count in counts.items():
            number = count if task == tasks[0] else max(len(CLASSES[task]), count // 2)
            yield from ((task, split, i, seed) for i in range(number))


def _plan(job: Job) -> tuple[Plan, np.random.Generator]:
    task, split, i, seed = job
    rng = np.random.default_rng([seed, list(CLASSES).index(task), SPLITS.index(split), i])
    return plan_video(task, split, i, rng), rng


def _path(job: Job) -> Path:
    task, split, i, _ = job
    return Path(task) / split / f"{i:04d}.mp4"


def _write_lists(folder: Path, jobs: list[Job]) -> None:
    """The lists of one set."""
    plans = {_path(job).relative_to(job[0]): _plan(job)[0] for job in jobs}
    for split in SPLITS:
        rows = [f"{p} {plan.label}\n" for p, plan in plans.items() if p.parts[0] == split]
        (folder / f"{split}.csv").write_text("".join(rows))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES[folder.name]))
    truth = {str(p): asdict(plan) for p, plan in plans.items()}
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
