"""The paper's ledger (configs/paper.yaml): its tables, our config for each row, its numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from fvcore.common.config import CfgNode

from cmvl.config import load_cfg
from cmvl.utils.errors import ConfigError


@dataclass(frozen=True)
class Row:
    """A row of the paper. Numbers it does not print are None; `by` cites a quoted row's source."""

    name: str
    config: str = ""  # below configs/, without .yaml; "": we have no such model
    overrides: tuple[str, ...] = ()
    by: str = ""
    paper: float | None = None  # accuracy, %
    gflops: float | None = None
    params: float | None = None  # millions
    ratio: float | None = None  # FLOPs with the memory over those without
    note: str = ""

    @property
    def ours(self) -> bool:
        """Whether a run of ours belongs here."""
        return bool(self.config) and not self.by

    @property
    def output(self) -> str:
        """Of its run, below the folder of all runs: rows of one config share a run."""
        return "_".join([self.config, *self.overrides])


@dataclass(frozen=True)
class Table:
    key: str  # 1, 2a, ... fig3
    title: str
    metric: str  # as in a run's results
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ledger:
    """`configs` is the folder of the files that rows name; `weights` maps a weights file to the
    config that makes it, `zoo` are those that PySlowFast publishes; `data` has a place per folder.
    """

    configs: Path
    tables: Mapping[str, Table]
    weights: Mapping[str, str]
    zoo: Sequence[str]
    data: Mapping[str, str]

    def select(self, keys: Sequence[str]) -> Iterator[Table]:
        """The tables of `keys`, or all."""
        for key in keys or self.tables:
            if key not in self.tables:
                raise ConfigError(f"no table {key!r}; the ledger has {', '.join(self.tables)}")
            yield self.tables[key]

    def cfg(self, config: str, overrides: Sequence[str] = ()) -> CfgNode:
        """A row's config, loaded and checked."""
        return load_cfg(self.configs / f"{config}.yaml", overrides)


def read_ledger(file: Path) -> Ledger:
    content = yaml.safe_load(file.read_text())
    tables = {key: _table(key, **table) for key, table in content["tables"].items()}
    return Ledger(file.parent, tables, content["weights"], content["zoo"], content["data"])


def _table(key: str, title: str, metric: str, rows: list, remarks: Sequence[str] = ()) -> Table:
    return Table(key, title, metric, tuple(map(_row, rows)), tuple(remarks))


def _row(fields: dict) -> Row:
    return Row(**{**fields, "overrides": tuple(map(str, fields.get("overrides", ())))})
