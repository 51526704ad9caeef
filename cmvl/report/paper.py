"""The paper's tables beside ours: the commands behind a row, its cost, the results of its run."""

from collections.abc import Container, Iterator
from pathlib import Path

import simplejson

from cmvl.checkpoint.folder import checkpoint_path
from cmvl.report.flops import Cost, count
from cmvl.report.ledger import Ledger, Row, Table
from cmvl.report.runs import read_dict
from cmvl.utils.errors import UserError

PERCENT = {"top1": "top-1, %", "mAP": "mAP, %", "by_position": "clip top-1 by place, %"}
COUNTED = (  # title, field of Row and Cost, digits
    ("GFLOPs", "gflops", 1),
    ("parameters, M", "params", 2),
    ("FLOPs x", "ratio", 3),
)
COUNTING = "GFLOPs: 1e9 multiply-adds of convolutions and matrix products, one clip at 256 x 256"
WEIGHTS = Path("weights")  # where the configs look for them
HEADS = ("paper", "ours")
Pair = tuple[str, str]  # printed, ours
Group = tuple[str, list[Pair]]  # title, a pair for each row


def commands(ledger: Ledger, table: Table, runs: Path) -> str:
    """What to run for a table, in order, ready for a shell.

    Weights that none of its rows makes are explained in comments before.
    """
    rows = [row for row in table.rows if row.ours]
    made = {row.config: _keep(ledger, row.config, runs) for row in rows}
    lines, known = [f"# {table.title}"], set()
    for row in rows:
        lines += _explain(ledger, row.config, row.overrides, made, runs, known)
    for row in rows:
        printed = "" if row.paper is None else f" (paper: {row.paper:.1f})"
        command = " ".join([_command(ledger, row.config, row.output, runs), *row.overrides])
        lines += ["", f"# {row.name}{printed}", command, *made[row.config]]
    return "\n".join(lines)


def _command(ledger: Ledger, config: str, output: str, runs: Path) -> str:
    data = ledger.data[config.split("/")[0]]
    return (
        f"python tools/run_net.py --cfg configs/{config}.yaml DATA.PATH_TO_DATA_DIR {data} "
        f"OUTPUT_DIR {runs / output}"
    )


def _keep(ledger: Ledger, config: str, runs: Path) -> list[str]:
    """How a finished run of `config` becomes the weights that others start from."""
    epochs = ledger.cfg(config).SOLVER.MAX_EPOCH
    return [
        f"mkdir -p {WEIGHTS} && cp -n {checkpoint_path(runs / config, epochs)} {WEIGHTS / name}"
        for name, source in ledger.weights.items()
        if source == config
    ]


def _explain(
    ledger: Ledger,
    config: str,
    overrides: tuple[str, ...],
    made: Container[str],
    runs: Path,
    known: set[str],
) -> Iterator[str]:
    """Where the weights come from that `config` starts from; `known` ones are not said again."""
    name = Path(ledger.cfg(config, overrides).TRAIN.INIT_FROM).name
    if not name or name in known or ledger.weights[name] in made:
        return
    known.add(name)
    source = ledger.weights[name]
    yield from _explain(ledger, source, (), made, runs, known)
    zoo = " from PySlowFast's model zoo, or made by" if name in ledger.zoo else " made by"
    yield f"# {WEIGHTS / name}:{zoo}"
    for line in [_command(ledger, source, source, runs), *_keep(ledger, source, runs)]:
        yield f"#   {line}"


def measure(ledger: Ledger, table: Table, known: dict[str, Cost]) -> dict[Row, Cost]:
    """The cost of every row that has a model; `known` keeps what was counted before."""
    rows = [row for row in table.rows if row.config]
    for row in rows:
        if row.output not in known:
            known[row.output] = count(ledger.cfg(row.config, row.overrides))
    return {row: known[row.output] for row in rows}


def results(table: Table, runs: Path) -> dict[Row, str]:
    """The table's metric of every finished run below `runs`, which must be there."""
    if not runs.is_dir():
        raise UserError(f"{runs}: no such folder; expected the runs that `--table` has commands of")
    found = {}
    for row in table.rows:
        file = runs / row.output / "results" / "summary.json"
        if row.ours and file.is_file():
            summary = read_dict(file, simplejson.loads)
            if table.metric == "by_position":
                found[row] = " ".join(f"{value:.1f}" for value in summary["by_position"])
            elif table.metric in summary["metrics"]:
                found[row] = f"{summary['metrics'][table.metric]:.1f}"
    return found


def render(table: Table, found: dict[Row, str], costs: dict[Row, Cost] | None = None) -> str:
    """The paper's numbers beside ours. ≠ marks a printed one that ours does not round to."""
    groups = [(PERCENT[table.metric], [_accuracy(row, found) for row in table.rows])]
    for title, field, digits in COUNTED if costs else ():
        if field != "ratio" or any(row.ratio for row in table.rows):
            groups.append((title, [_counted(row, costs, field, digits) for row in table.rows]))
    names = [f"{row.name} {row.by}".strip() for row in table.rows]
    lines = [table.title, *_columns(names, groups)]
    if costs:
        lines.append(f"  {COUNTING}.")
        lines += [f"  {row.name}: {row.note}." for row in table.rows if row.note]
    return "\n".join(lines + [f"  {remark}" for remark in table.remarks])


def reached(printed: float, value: float) -> bool:
    """Whether `value`, rounded as `printed` is, is that number."""
    return round(value, len(str(printed).partition(".")[2])) == printed


def _accuracy(row: Row, found: dict[Row, str]) -> Pair:
    printed = "" if row.paper is None else f"{row.paper:.1f}"
    return printed, found.get(row, "not run" if row.ours else "")


def _counted(row: Row, costs: dict[Row, Cost], field: str, digits: int) -> Pair:
    printed = getattr(row, field)
    value = getattr(costs[row], field) if row in costs else None
    if field == "ratio" and value == 1:
        value = None  # no memory
    missed = None not in (printed, value) and not reached(printed, value)
    ours = "" if value is None else f"{value:.{digits}f}" + ("≠" if missed else " ")
    return "" if printed is None else str(printed), ours


def _columns(names: list[str], groups: list[Group]) -> list[str]:
    """A line of titles, a line of heads and one per name."""
    first = max(map(len, names))
    lines = [[" " * first], [" " * first], *([f"{name:{first}}"] for name in names)]
    for title, pairs in groups:
        block = [HEADS, *pairs]
        left, right = (max(len(pair[i]) for pair in block) for i in (0, 1))
        right = max(right, len(title) - left - 2)
        lines[0].append(f"{title:>{left + 2 + right}}")
        for line, (printed, ours) in zip(lines[1:], block, strict=True):
            line.append(f"{printed:>{left}}  {ours:>{right}}")
    return ["    ".join(line).rstrip() for line in lines]
