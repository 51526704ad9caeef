"""The study (docs/study.md): cells to train in small, and the paper's tables they belong to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import simplejson
import yaml

from cmvl.report.ledger import Ledger
from cmvl.utils.errors import ConfigError, UserError

Line = dict[str, Any]  # of the results: one finished cell with one seed


@dataclass(frozen=True)
class Cell:
    """A training: `config` below configs/, overrides, its data set, the cell it starts from."""

    name: str
    config: str = "demo/STUDY"
    opts: tuple[str, ...] = ()
    data: str = "all/cue"  # set, and a task of its preset
    start: str = "paints"  # "": from scratch


@dataclass(frozen=True)
class Row:
    """A cell in a table, beside what the paper prints for the like of it."""

    name: str
    cell: str
    paper: float | None = None


@dataclass(frozen=True)
class Table:
    key: str  # 2a, fig3 ... as in the paper's ledger, or a question that the paper leaves open
    title: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = tuple(range(9))

    def runs(self, cell: str, results: Sequence[Line]) -> list[Line]:
        """Of `cell` with the table's seeds, in their order."""
        found = [line for line in results if line["cell"] == cell and line["seed"] in self.seeds]
        return sorted(found, key=lambda line: line["seed"])


@dataclass(frozen=True)
class Study:
    configs: Path
    sets: Mapping[str, Mapping[str, Any]]  # arguments of `write_demo`
    cells: Mapping[str, Cell]
    tables: Mapping[str, Table]

    def select(self, keys: Sequence[str]) -> list[Table]:
        """The tables of `keys`, or all."""
        for key in keys:
            if key not in self.tables:
                raise ConfigError(f"no table {key!r}; the study has {', '.join(self.tables)}")
        return [self.tables[key] for key in keys or self.tables]

    def cells_of(self, tables: Sequence[Table]) -> list[Cell]:
        """In the order of the tables, each once, after the cell that it starts from."""
        found: dict[str, Cell] = {}
        for table in tables:
            for row in table.rows:
                found |= {cell.name: cell for cell in self._chain(row.cell)}
        return list(found.values())

    def _chain(self, name: str) -> Iterator[Cell]:
        cell = self.cells[name]
        if cell.start:
            yield from self._chain(cell.start)
        yield cell


def read_study(file: Path, ledger: Ledger) -> Study:
    """`ledger` has the paper's numbers: of the row that a row's `as` names, in the same table."""
    content = yaml.safe_load(file.read_text())
    cells = {name: _cell(name, **fields) for name, fields in content["cells"].items()}
    tables = {}
    for key, table in content["tables"].items():
        printed = {r.name: r.paper for r in ledger.tables[key].rows} if key in ledger.tables else {}
        rows = tuple(_row(printed, **row) for row in table["rows"])
        seeds = tuple(table.get("seeds", Table.seeds))
        tables[key] = Table(key, table["title"], rows, seeds)
    return Study(file.parent, content["sets"], cells, tables)


def _cell(name: str, opts: Mapping[str, Any] | None = None, **fields: str) -> Cell:
    pairs = tuple(str(part) for pair in (opts or {}).items() for part in pair)
    return Cell(name, opts=pairs, **fields)


def _row(printed: Mapping[str, float | None], name: str, cell: str, **fields: str) -> Row:
    like = fields.get("as")
    return Row(name, cell, printed[like] if like else None)


def read_results(file: Path) -> list[Line]:
    """Of the file's lines; none if there is no such file.

    Where a cell was run again with the same seed, its last line counts.
    """
    lines = file.read_text().splitlines() if file.is_file() else []
    found = {}
    for number, text in enumerate(lines, 1):
        try:
            line = simplejson.loads(text)
        except simplejson.JSONDecodeError as error:
            raise UserError(f"{file}:{number}: not a line of results: {text[:60]!r}") from error
        found[line["cell"], line["seed"]] = line
    return list(found.values())
