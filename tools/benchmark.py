"""Measurements anybody can repeat; each compares its cells within one run.

python tools/benchmark.py memory --cfg configs/K400/SLOW_8x8_CM.yaml --clips 1 2 4 8
python tools/benchmark.py train --cfg configs/K400/SLOW_8x8_CM.yaml
python tools/benchmark.py test --cfg configs/K400/SLOW_8x8_CM.yaml
python tools/benchmark.py data
python tools/benchmark.py scale --cfg configs/K400/SLOWFAST_8x8_CM.yaml
python tools/benchmark.py ava --cfg configs/AVA/SLOWFAST_4x16_V22_CM.yaml
"""

import argparse
from pathlib import Path

from fvcore.common.config import CfgNode

from cmvl.benchmarks.ava import evaluator_seconds, window_rates
from cmvl.benchmarks.data import FILES, JOBS, SIZES, Selection, as_lines, data_table, memory_growth
from cmvl.benchmarks.memory import memory_table
from cmvl.benchmarks.scale import measured
from cmvl.benchmarks.step import Work
from cmvl.benchmarks.train import (
    CELLS,
    USUAL,
    WAYS,
    as_text,
    refuse_impossible,
    step_table,
    where_time_goes,
)
from cmvl.benchmarks.views import view_seconds
from cmvl.report.flops import count
from cmvl.utils.arguments import positive
from cmvl.utils.errors import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    subjects = parser.add_subparsers(dest="subject", required=True)
    memory = with_config(subjects, "memory", "peak memory of a step against N")
    memory.add_argument("--clips", type=positive, nargs="+", default=[1, 2, 4, 8], metavar="N")
    memory.add_argument("--videos", type=positive, default=2, help="videos of the step")
    train = with_config(subjects, "train", "time and memory of a step; against pytorchvideo")
    train.add_argument("--videos", type=positive, default=2, help="videos of the step")
    train.add_argument("--clips", type=positive, default=2, metavar="N")
    train.add_argument(
        "--repeats", type=positive, default=3, help="of every step; the least counts"
    )
    train.add_argument("--cells", nargs="+", default=USUAL, choices=CELLS)
    train.add_argument("--ways", nargs="+", default=["configured"], choices=WAYS)
    train.add_argument("--profile", action="store_true", help="show where the time goes")
    test = with_config(subjects, "test", "a video's test in all its views")
    test.add_argument("--repeats", type=positive, default=3, help="the least counts")
    ava = with_config(subjects, "ava", "rolling window against direct windows; the evaluator")
    ava.add_argument("--keyframes", type=positive, default=40)
    ava.add_argument("--detections", type=positive, default=100_000, help="for the evaluator")
    scale = with_config(subjects, "scale", "steps over several processes")
    scale.add_argument("--processes", type=positive, nargs="+", default=[1, 2, 4], metavar="P")
    scale.add_argument("--videos", type=positive, default=2, help="of each process and step")
    scale.add_argument("--steps", type=positive, default=10)
    data = subjects.add_parser("data", help="CPU time of getting the clips of a video")
    data.add_argument("--videos", type=Path, default=Path("benchmark_videos"), metavar="DIR")
    data.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    data.add_argument("--files", nargs="+", default=list(FILES), choices=FILES)
    data.add_argument("--jobs", nargs="+", default=list(JOBS), choices=JOBS)
    data.add_argument("--frames", type=positive, default=300, help="of every video")
    data.add_argument("--seeds", type=positive, default=5, help="draws of the training job")
    data.add_argument("--repeats", type=positive, default=3, help="of every draw; the least counts")
    data.add_argument("--opens", type=int, default=0, help="measure memory over so many opens")
    args = parser.parse_args()
    {
        "memory": show_memory, "train": show_train, "test": show_test, "ava": show_ava,
        "scale": show_scale, "data": show_data,
    }[args.subject](args)  # fmt: skip


def with_config(subjects, name: str, about: str) -> argparse.ArgumentParser:
    parser = subjects.add_parser(name, help=about)
    parser.add_argument("--cfg", required=True, metavar="FILE")
    parser.add_argument("--opts", nargs="*", default=[], help="overrides, as KEY VALUE pairs")
    return parser


def show_data(args: argparse.Namespace) -> None:
    selection = Selection(
        args.sizes, args.files, args.jobs, args.frames, args.seeds, repeats=args.repeats
    )
    for line in as_lines(data_table(args.videos, selection)):
        print(line, flush=True)
    if args.opens:
        print(memory_growth(args.videos, args.opens))


def show_train(args: argparse.Namespace) -> None:
    work = Work(args.cfg, tuple(args.opts), args.videos, args.clips)
    refuse_impossible(work, args.ways, args.profile)
    print(as_text(step_table(work, args.ways, args.repeats, forward_flops, args.cells)), flush=True)
    if args.profile:
        for way in args.ways:
            print(where_time_goes(work, way))


def forward_flops(cfg: CfgNode) -> float:
    """Of one clip at the training crop."""
    return count(cfg, cfg.DATA.TRAIN_CROP_SIZE).flops


def show_test(args: argparse.Namespace) -> None:
    seconds = view_seconds(args.cfg, args.opts, args.repeats)
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"{name:10} {value:.3g} s a video, {value / first:.3f} times the first")


def show_ava(args: argparse.Namespace) -> None:
    rates = window_rates(args.cfg, args.opts, args.keyframes)
    times = rates["rolling"] / rates["direct"]
    print(
        f"key frames a second: rolling window {rates['rolling']:.3g}, direct windows "
        f"{rates['direct']:.3g}, {times:.1f} times; scores differ by {rates['difference']:.1e}"
    )
    fast, plain = evaluator_seconds(args.detections)
    print(f"{args.detections} detections evaluated in {fast:.2f} s, by a plain loop {plain:.2f} s")


def show_scale(args: argparse.Namespace) -> None:
    rates = measured(args.cfg, args.opts, args.processes, args.videos, args.steps)
    first = rates[args.processes[0], False]
    print("videos a second (times the first)")
    for (processes, sync), rate in rates.items():
        norms = "BN.SYNC" if sync else "own norms"
        print(f"  {processes} processes, {norms:10} {rate:8.3g}  ({rate / first:.2f})")


def show_memory(args: argparse.Namespace) -> None:
    table = memory_table(args.cfg, args.opts, args.clips, args.videos)
    print(f"{'peak of a step, MiB':22}" + "".join(f"{f'N = {N}':>10}" for N in args.clips))
    for name, peaks in table.items():
        print(f"{name:22}" + "".join(f"{peaks[N]:10.0f}" for N in args.clips))


if __name__ == "__main__":
    run_tool(main)
