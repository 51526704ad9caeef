"""CPU time of getting the clips of one video: our way, the naive way, other decoders, the floor.

Every way yields clips of the same frames and shape. Times are CPU milliseconds of this process,
for each video the mean over draws of the least of several interleaved repeats.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cmvl.benchmarks.videos import write_sample
from cmvl.data.dataset import cut_clips
from cmvl.data.decode import open_video
from cmvl.data.reencode import Encoding
from cmvl.data.rules import SpanRule
from cmvl.data.torchcodec_video import find_decoder
from cmvl.data.transforms import EvalTransform, TrainTransform, Transform, View
from cmvl.utils.errors import DataError

SIZES = {"340x256": (256, 340), "1280x720": (720, 1280)}
JOBS = {"training, N=1": 1, "training, N=5": 5, "test, 10 x 3": 0}  # clips of a training video
FILES = {f"GOP {gop}": {"g": str(gop)} for gop in (12, 30, 250)}  # encoders' options
FILES["prepared"] = Encoding().options()  # what tools/prepare_data.py writes
SEEK_MARGIN = 1024  # ticks by which PySlowFast seeks too early
MEAN, STD = torch.full((3,), 0.45), torch.full((3,), 0.225)


@dataclass(frozen=True)
class Job:
    """The clips asked of one video: frames (N, T), a View for each, whether for training."""

    indices: np.ndarray
    views: list[View]
    train: bool


def ours(path: str, job: Job) -> Tensor:
    with open_video(path) as video:
        return cut_clips(video, job.indices, job.views)


def floor(path: str, job: Job) -> None:
    """PyAV decoding the needed packets, nothing else."""
    with open_video(path) as video:
        for _ in video._numbered({int(k) for k in job.indices.ravel()}):
            pass


def naive(path: str, job: Job) -> Tensor:
    """PySlowFast's way, step by step: for each clip, and in tests for each crop of it, an item.

    Open, seek, decode and convert the whole span to RGB, take the clip's frames, then float
    transforms of whole pictures; collating copies the cut-out crops.
    """
    crops = [(n, s) for n, view in enumerate(job.views) for s in range(len(view.offsets))]
    return torch.stack([_naive_clip(path, job.indices[n], job.views[n], s) for n, s in crops])


def _naive_clip(path: str, indices: np.ndarray, view: View, s: int) -> Tensor:
    frames = torch.as_tensor(np.stack(_decode_span(path, int(indices[0]), int(indices[-1]))))
    frames = frames.index_select(0, torch.from_numpy(indices - indices[0])).float()
    frames = ((frames / 255 - MEAN) / STD).permute(3, 0, 1, 2)
    y, x, height, width = view.window
    scale = view.size[0] / height
    size = [max(1, round(side * scale)) for side in frames.shape[2:]]
    frames = F.interpolate(frames, size, mode="bilinear", align_corners=False)
    oy, ox = round(y * scale) + view.offsets[s][0], round(x * scale) + view.offsets[s][1]
    oy, ox = min(oy, size[0] - view.crop), min(ox, size[1] - view.crop)
    frames = frames[:, :, oy : oy + view.crop, ox : ox + view.crop]
    return frames.flip(-1) if view.flip else frames


def _decode_span(path: str, first: int, last: int) -> list[np.ndarray]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        ticks = stream.duration / stream.frames
        start, end = int(first * ticks), int(last * ticks)
        container.seek(max(start - SEEK_MARGIN, 0), stream=stream)
        frames = {}
        for frame in container.decode(stream):
            if frame.pts >= start:
                frames[frame.pts] = frame
            if frame.pts > end:  # one more than needed: it says that the span is over
                break
        return [frames[pts].to_rgb().to_ndarray() for pts in sorted(frames)]


def torchcodec_way(path: str, job: Job) -> Tensor:
    from torchcodec.decoders import VideoDecoder

    unique = np.unique(job.indices)
    decoder = VideoDecoder(path, num_ffmpeg_threads=1, dimension_order="NHWC", seek_mode="exact")
    return _cut(unique, decoder.get_frames_at(unique.tolist()).data.numpy(), job)


def decord_way(path: str, job: Job) -> Tensor:
    import decord

    unique = np.unique(job.indices)
    return _cut(unique, decord.VideoReader(path, num_threads=1).get_batch(unique).asnumpy(), job)


def _cut(unique: np.ndarray, frames: np.ndarray, job: Job) -> Tensor:
    class Read:
        def pictures(self, wanted):
            return ((k, frames[row]) for row, k in enumerate(unique.tolist()))

    return cut_clips(Read(), job.indices, job.views)


def ways() -> dict[str, Callable]:
    """Those whose libraries are installed."""
    others = {"decord": decord_way} if find_spec("decord") else {}
    with suppress(DataError):
        find_decoder()
        others["torchcodec"] = torchcodec_way
    return {"naive": naive, **others, "ours": ours, "floor": floor}


def draw_job(clips: int, height: int, width: int, frames: int, seed: int) -> Job:
    """N=`clips` of 32x2, jitter [256, 320], crop 224; or, for 0, 10 x 3 test views of 256."""
    train = clips > 0
    rng, rule = np.random.default_rng(seed), SpanRule(32, 2, 30)
    transform: Transform = TrainTransform((256, 320), 224) if train else EvalTransform(256, 256, 3)
    indices = rule.random(frames, 30, clips, rng, False) if train else rule.uniform(frames, 30, 10)
    return Job(indices, transform.views(len(indices), height, width, rng), train)


def cpu_ms(
    path: str, jobs: Sequence[Job], chosen: dict[str, Callable], repeats: int
) -> dict[str, float]:
    """CPU milliseconds of every way, interleaved."""
    least = np.full((len(chosen), len(jobs)), np.inf)
    for _ in range(repeats):
        for j, job in enumerate(jobs):
            for w, way in enumerate(chosen.values()):
                start = time.process_time()
                way(path, job)
                least[w, j] = min(least[w, j], time.process_time() - start)
    return dict(zip(chosen, (1000 * least.mean(axis=1)).tolist(), strict=True))


@dataclass(frozen=True)
class Selection:
    """What is measured: sizes, files and jobs by name, frames of a video, draws and repeats."""

    sizes: Sequence[str] = tuple(SIZES)
    files: Sequence[str] = tuple(FILES)
    jobs: Sequence[str] = tuple(JOBS)
    frames: int = 300
    seeds: int = 5
    test_seeds: int = 1
    repeats: int = 3

    def cells(self) -> Iterator[tuple[str, str, str]]:
        """(size, file, job); the test job is one of files as they are found."""
        for size, file, job in product(self.sizes, self.files, self.jobs):
            if JOBS[job] or file == "GOP 250":
                yield size, file, job

    def draws(self, size: str, job: str) -> list[Job]:
        seeds = self.seeds if JOBS[job] else self.test_seeds
        return [draw_job(JOBS[job], *SIZES[size], self.frames, seed) for seed in range(seeds)]


def data_table(folder: Path, selection: Selection) -> Iterator[dict]:
    """Rows (job, size, file, CPU ms of every way) over generated files in `folder`."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    for size, file, job in selection.cells():
        path = folder / f"{size}_{file.replace(' ', '')}.mp4"
        write_sample(path, *SIZES[size], selection.frames, options=FILES[file])
        times = cpu_ms(str(path), selection.draws(size, job), ways(), selection.repeats)
        mib = path.stat().st_size / 2**20
        yield {"job": job, "size": size, "file": file, "MiB": mib, **times}


def as_lines(rows: Iterable[dict]) -> Iterator[str]:
    """Those of a Markdown table, as the rows come."""
    names = list(ways())
    head = ["job", "size", "file", "MiB", *names, "naive / ours", "ours / floor"]
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        times = [f"{row[name]:.0f}" for name in names]
        ratios = [f"{row['naive'] / row['ours']:.1f}", f"{row['ours'] / row['floor']:.2f}"]
        cells = [row["job"], row["size"], row["file"], f"{row['MiB']:.2f}", *times, *ratios]
        yield "| " + " | ".join(cells) + " |"


def memory_growth(folder: Path, opens: int) -> str:
    """Resident memory of the process after the first tenth of `opens`, and after all of them."""
    path, marks = str(sorted(folder.glob("340x256_*.mp4"))[0]), []
    with open_video(path) as video:
        frames = video.info.frames
    for i in range(opens):
        with open_video(path) as video:
            video.read([i % frames])
        if i + 1 in (opens // 10, opens):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            marks.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
    return f"{opens} opens: {marks[0]:.1f} MiB after a tenth of them, {marks[-1]:.1f} MiB after all"
