"""A run's folder as reports and figures read it; a run that has not finished lacks some of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import simplejson
import yaml

from cmvl.config.compare import flat
from cmvl.utils.errors import UserError

Line = dict[str, Any]  # of log.jsonl
MEND = "a training or test, once more, writes it anew"
ACCURACIES = ("top1", "mAP")  # of validations and tests, the first found is the run's
TRIED = ("config_train.yaml", "config_test.yaml", "log.jsonl", "results/summary.json")


@dataclass(frozen=True)
class RunFolder:
    """`config` maps every key ("SOLVER.BASE_LR") to its value; `summary` is that of the test."""

    path: Path
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    log: tuple[Line, ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)

    def lines(self, kind: str) -> list[Line]:
        return [line for line in self.log if line["kind"] == kind]

    def series(self, kind: str, key: str) -> tuple[list[float], list[float]]:
        """(epochs, values) of a number in the log; a step counts as its fraction of an epoch."""
        lines = [line for line in self.lines(kind) if line.get(key) is not None]
        return [_when(line) for line in lines], [line[key] for line in lines]

    @property
    def accuracy(self) -> tuple[str, float] | None:
        """The test's metric and its value in percent."""
        metrics = self.summary.get("metrics", {})
        return next(((name, metrics[name]) for name in ACCURACIES if name in metrics), None)


def read_run(path: Path, name: str = "") -> RunFolder:
    """Raises UserError if the folder holds nothing of a run, or something damaged."""
    if not any((path / file).is_file() for file in TRIED):
        raise UserError(f"{path}: not a run's OUTPUT_DIR, expected one of {', '.join(TRIED)}")
    configs = [path / "config_train.yaml", path / "config_test.yaml"]
    config = next((c for c in configs if c.is_file()), None)
    summary = path / "results" / "summary.json"
    return RunFolder(
        path,
        name or path.resolve().name,
        dict(flat(read_dict(config, yaml.safe_load))) if config else {},
        tuple(_read_log(path / "log.jsonl")),
        read_dict(summary, simplejson.loads) if summary.is_file() else {},
    )


def read_runs(paths: Sequence[Path], names: Sequence[str] = ()) -> list[RunFolder]:
    """Several runs, called `names`, or by as many folders of their paths as tell them apart."""
    if names and len(names) != len(paths):
        raise UserError(f"{len(names)} names for {len(paths)} runs: give one for each")
    return [read_run(p, n) for p, n in zip(paths, names or _tails(paths), strict=True)]


def _tails(paths: Sequence[Path]) -> list[str]:
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            break
    return names


def read_dict(path: Path, load: Callable[[str], Any], mend: str = MEND) -> dict[str, Any]:
    """What a job has written. Raises UserError, with the `mend`, where it is damaged."""
    try:
        content = load(path.read_text())
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: damaged, {error}; {mend}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged, expected keys with values; {mend}")
    return content


def _read_log(path: Path) -> list[Line]:
    """The lines in order. A resumed run writes steps anew that it had written before it stopped;
    only the later ones count."""
    lines: dict[Any, Line] = {}
    texts = path.read_bytes().splitlines() if path.is_file() else []
    for number, text in enumerate(texts, 1):
        try:
            line = simplejson.loads(text)
            kind = line["kind"]
            key = (kind, line["epoch"], line.get("step")) if "epoch" in line else number
        except (ValueError, KeyError, TypeError) as error:
            shown = text[:60].decode(errors="replace")
            raise UserError(f"{path}:{number}: not a line of a run's log: {shown!r}") from error
        lines.pop(key, None)
        lines[key] = line
    return list(lines.values())


def _when(line: Line) -> float:
    return line["epoch"] - 1 + line["step"] / line["steps"] if "step" in line else line["epoch"]
