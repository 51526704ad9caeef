"""Runs the study's cells, one after another; what a results file already has is not run again."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import simplejson
from fvcore.common.config import CfgNode

from cmvl.checkpoint import find_last
from cmvl.config import load_cfg
from cmvl.data.demo import write_demo
from cmvl.engine.test import Result, test
from cmvl.engine.train import train
from cmvl.report.runs import read_run
from cmvl.report.study import Cell, Line, Study, Table, read_results

DATA = "data"  # the sets, below the folder of the study


@dataclass(frozen=True)
class Job:
    cell: Cell
    seed: int

    def folder(self, out: Path) -> Path:
        return out / f"seed{self.seed}" / self.cell.name


def jobs(study: Study, tables: Sequence[Table], seeds: Sequence[int] = ()) -> list[Job]:
    """With the seeds of each table, or those given.

    Seed after seed, so that an interrupted study has whole comparisons.
    """
    found = []
    for seed in seeds or sorted({seed for table in tables for seed in table.seeds}):
        of_seed = [table for table in tables if seeds or seed in table.seeds]
        found += [Job(cell, seed) for cell in study.cells_of(of_seed)]
    return found


def write_sets(study: Study, cells: Sequence[Cell], out: Path) -> None:
    """The videos of the sets that `cells` train on; what is there stays."""
    for name in dict.fromkeys(cell.data.split("/")[0] for cell in cells):
        write_demo(out / DATA / name, **study.sets[name])


def run_study(
    study: Study,
    wanted: Sequence[Job],
    out: Path,
    results: Path,
    opts: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> None:
    """Train and test every job below `out`, appending a line to `results` for each.

    A job whose line is there is skipped, unless a later one starts from weights that are gone.
    """
    done = {(line["cell"], line["seed"]) for line in read_results(results)}
    todo = list(_open(wanted, done, out))
    say(f"{len(wanted) - len(todo)} of {len(wanted)} runs are done, {len(todo)} left")
    seconds: list[float] = []
    for i, job in enumerate(todo, 1):
        line = run_job(study, job, out, opts)
        if (job.cell.name, job.seed) not in done:
            results.parent.mkdir(parents=True, exist_ok=True)
            with results.open("a") as file:
                file.write(simplejson.dumps(line) + "\n")
        seconds.append(line["seconds"])
        left = mean(seconds) * (len(todo) - i) / 60
        say(
            f"[{i}/{len(todo)}] {job.cell.name}, seed {job.seed}: {line['top1']:.1f}%, "
            f"{line['cpu']:.0f} CPU s; about {left:.0f} min left"
        )


def _open(wanted: Sequence[Job], done: set[tuple[str, int]], out: Path) -> Iterator[Job]:
    missing = [job for job in wanted if (job.cell.name, job.seed) not in done]
    needed = {(job.cell.start, job.seed) for job in missing}
    for job in wanted:
        key = (job.cell.name, job.seed)
        weights = (job.folder(out) / "results" / "summary.json").is_file()
        if key not in done or (key in needed and not weights):
            yield job


def run_job(study: Study, job: Job, out: Path, opts: Sequence[str] = ()) -> Line:
    """One training and its test; the messages of both are in the folder's stdout.log alone."""
    cfg = load_job(study, job, out, opts)
    start, cpu = time.perf_counter(), time.process_time()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        train(cfg)
        result = test(cfg)
    return {
        "cell": job.cell.name,
        "seed": job.seed,
        **_numbers(result, job.folder(out)),
        "cpu": round(time.process_time() - cpu, 1),
        "seconds": round(time.perf_counter() - start, 1),
    }


def load_job(study: Study, job: Job, out: Path, opts: Sequence[str] = ()) -> CfgNode:
    cell, folder = job.cell, job.folder(out)
    pairs = ["DATA.PATH_TO_DATA_DIR", str(out / DATA / cell.data), "RNG_SEED", str(job.seed)]
    pairs += ["OUTPUT_DIR", str(folder), *cell.opts]
    if cell.start:
        before = Job(study.cells[cell.start], job.seed).folder(out)
        pairs += ["TRAIN.INIT_FROM", str(find_last(before))]
    return load_cfg(study.configs / f"{cell.config}.yaml", [*pairs, *opts])


def _numbers(result: Result, folder: Path) -> Line:
    """What a line keeps of a run: percent, and errors by epoch where the run was validated."""
    log = read_run(folder)
    line = {
        "top1": round(result.metrics["top1"], 2),
        "clip_top1": round(result.metrics["clip_top1"], 2),
        "by_position": [round(value, 1) for value in result.by_position],
        "videos": result.metrics["videos"],
        "loss": round(log.lines("train")[-1]["loss"], 3),
    }
    epochs, top1 = log.series("val", "top1")
    if len(epochs) > 1:
        line["val"] = _points(epochs, [100 - value for value in top1])
        line["train"] = _points(*log.series("train", "error"))
    return line


def _points(epochs: Sequence[float], values: Sequence[float]) -> list[list[float]]:
    return [[round(x, 2), round(y, 1)] for x, y in zip(epochs, values, strict=True)]
