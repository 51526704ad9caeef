"""The demo: one small data set, the paper's three kinds of training, a table and a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import simplejson
from fvcore.common.config import CfgNode

from cmvl.config import load_cfg
from cmvl.data.demo import write_demo
from cmvl.engine.test import Result, test
from cmvl.engine.train import train
from cmvl.evaluation.positions import plot_positions
from cmvl.report.figures import plot_videos


@dataclass(frozen=True)
class Run:
    """A training of the demo. `name` is its row of the table; pre-training has none."""

    config: str
    data: str
    name: str = ""


PRETRAINING = Run("EVENTS", "events")
RUNS = (
    Run("SLOWONLY", "relation", "clip-level baseline"),
    Run("SLOWONLY_MULTICLIP", "relation", "multi-clip, no memory"),
    Run("SLOWONLY_CM", "relation", "multi-clip with CM"),
)


def run_demo(
    out: Path,
    configs: Path,
    seeds: Sequence[int] = (0,),
    opts: Sequence[str] = (),
    **videos: int,
) -> dict[str, list[Result]]:
    """Make the data, then train and test every run with every seed; results by the run's name.

    `videos`: train=, val=, test=, their numbers. A finished run is taken as it is, an unfinished
    one goes on where it stopped.
    """
    write_demo(out / "data", **videos)
    results: dict[str, list[Result]] = {run.name: [] for run in RUNS}
    for seed in seeds:
        folder = out / f"seed{seed}"
        common = ["RNG_SEED", str(seed), *opts]
        train(_cfg(PRETRAINING, out, configs, folder, common))
        start = ["TRAIN.INIT_FROM", str(folder / PRETRAINING.config)]
        for run in RUNS:
            cfg = _cfg(run, out, configs, folder, [*start, *common])
            train(cfg)
            results[run.name].append(test(cfg))
    return results


def _cfg(run: Run, out: Path, configs: Path, folder: Path, opts: Sequence[str]) -> CfgNode:
    paths = ["DATA.PATH_TO_DATA_DIR", str(out / "data" / run.data)]
    paths += ["OUTPUT_DIR", str(folder / run.config)]
    return load_cfg(configs / f"{run.config}.yaml", [*paths, *opts])


def write_results(results: dict[str, list[Result]], out: Path) -> str:
    """Save `results.json`, `positions.png` and `videos.png`; returns the table as text."""
    out.mkdir(parents=True, exist_ok=True)
    rows = {name: [vars(r) for r in runs] for name, runs in results.items()}
    (out / "results.json").write_text(simplejson.dumps(rows, indent=2) + "\n")
    curves = {name: [r.by_position for r in runs] for name, runs in results.items()}
    plot_positions(curves).savefig(out / "positions.png")
    folder = out / "data" / "relation"
    names = (folder / "classes.txt").read_text().split()
    rows = [line.split() for line in (folder / "test.csv").read_text().splitlines()[:4]]
    plot_videos({folder / file: names[int(label)] for file, label in rows}, out / "videos.png")
    return table(results)


def table(results: dict[str, list[Result]]) -> str:
    """Video top-1 of every run, with the gain over the first; mean and deviation over seeds."""
    top1 = {name: [r.metrics["top1"] for r in runs] for name, runs in results.items()}
    baseline = mean(next(iter(top1.values())))
    lines = [f"{'':24}{'video top-1 (%)':>18}{'gain':>8}"]
    for name, values in top1.items():
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        gain = f"{mean(values) - baseline:+8.1f}" if name != next(iter(top1)) else ""
        lines.append(f"{name:24}{f'{mean(values):.1f}{spread}':>18}{gain}")
    return "\n".join(lines)
