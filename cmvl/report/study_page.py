"""The study's tables and figures, and their places in docs/study.md."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev

from cmvl.report.marks import fill_file, markdown
from cmvl.report.study import Line, Study, Table
from cmvl.report.study_figures import FIGURES
from cmvl.report.study_run import Job


def listing(tables: Sequence[Table], wanted: Sequence[Job], results: Sequence[Line]) -> str:
    """Tables with their cells, and how many of the wanted runs are done."""
    done = {(line["cell"], line["seed"]) for line in results}
    lines = []
    for table in tables:
        lines.append(f"{table.key}: {table.title}")
        for row in table.rows:
            seeds = [j.seed for j in wanted if j.cell.name == row.cell]
            count = sum((row.cell, seed) in done for seed in seeds)
            lines.append(f"    {row.name:44} {row.cell:18} {count} of {len(seeds)}")
    finished = sum((job.cell.name, job.seed) in done for job in wanted)
    return "\n".join([*lines, f"{finished} of {len(wanted)} runs are done"])


def render(table: Table, results: Sequence[Line]) -> str:
    """In Markdown: the paper's accuracy, the mean and deviation of ours, every seed's."""
    printed = any(row.paper is not None for row in table.rows)
    head = ["", *(["paper"] if printed else []), "ours, top-1", "of clips", "by seed"]
    rows = []
    for row in table.rows:
        number = "" if row.paper is None else f"{row.paper:.1f}"
        numbers = _cells(table.seeds, table.runs(row.cell, results))
        rows.append([row.name, *([number] if printed else []), *numbers])
    return markdown(head, rows)


def _cells(seeds: Sequence[int], runs: Sequence[Line]) -> tuple[str, str, str]:
    if not runs:
        return "not run", "", ""
    by_seed = {run["seed"]: run["top1"] for run in runs}
    top1 = list(by_seed.values())
    spread = f" ± {stdev(top1):.1f}" if len(top1) > 1 else ""
    clips = mean(run["clip_top1"] for run in runs)
    each = [f"{by_seed[seed]:.1f}" if seed in by_seed else "–" for seed in seeds]
    return f"{mean(top1):.1f}{spread}", f"{clips:.1f}", ", ".join(each)


def write_page(study: Study, results: Sequence[Line], page: Path) -> Iterator[Path]:
    """Bring the page's tables and its figures, in a folder beside it, up to date."""
    fill_file(page, lambda key: render(study.tables[key], results))
    yield page
    for name, draw in FIGURES.items():
        file = page.with_suffix("") / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        draw(study, results).savefig(file)
        yield file
