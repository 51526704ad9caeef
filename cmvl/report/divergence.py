"""Where two runs part: settings, machines, and the first steps whose numbers are not the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cmvl.report.origin import differences, machine
from cmvl.report.runs import Line, RunFolder

# Of the larger number: roundings of one machine, of another, and what no rounding explains.
LEVELS = {0.0: "a rounding", 1e-6: "more than 1e-6", 1e-3: "more than 0.1%", 0.1: "more than 10%"}
CLOCK = ("step_s", "data_s", "eta_s", "memory_gb")  # of the machine, not of the training
PLACE = ("kind", "epoch", "step", "steps")
Gap = tuple[float, str]  # relative, of which field


@dataclass(frozen=True)
class Pair:
    """Lines of the same step, or validation, of both runs."""

    here: Line
    there: Line

    def __str__(self) -> str:
        step = f" step {self.here['step']}" if "step" in self.here else ""
        return f"epoch {self.here['epoch']}{step}"

    def gap(self) -> Gap:
        """The largest one between two numbers; (0, "") where all are the same."""
        return max(self._gaps(), default=(0.0, ""))

    def shown(self, field: str) -> str:
        return f"{field} {_short(self.here.get(field))} | {_short(self.there.get(field))}"

    def _gaps(self) -> Iterator[Gap]:
        for field in sorted({*self.here, *self.there} - {*CLOCK, *PLACE}):
            a, b = self.here.get(field), self.there.get(field)
            if a != b:
                numbers = isinstance(a, int | float) and isinstance(b, int | float)
                yield abs(a - b) / max(abs(a), abs(b)) if numbers else 1.0, field


def tell_apart(one: RunFolder, other: RunFolder) -> str:
    """Text for the console."""
    parts = {
        "settings": _both(differences(one.config, other.config)),
        "machine": _both(differences(dict(machine(one)), dict(machine(other)))),
        "training": _parting(one, other, "train") + _means(one, other),
        "validation": _parting(one, other, "val"),
        "test": _tests(one, other),
    }
    told = [_paragraph(name, lines) for name, lines in parts.items()]
    return "\n".join([f"{one.name} | {other.name}", *told])


def _paragraph(name: str, lines: list[str]) -> str:
    return "\n".join(f"{name if i == 0 else '':<12}{line}" for i, line in enumerate(lines))


def _both(found: list[tuple[str, Any, Any]]) -> list[str]:
    return [f"{key} {_short(here)} | {_short(there)}" for key, here, there in found] or ["the same"]


def _parting(one: RunFolder, other: RunFolder, kind: str) -> list[str]:
    """Up to where the lines of both are alike, by level."""
    there = {_place(line): line for line in other.lines(kind)}
    here = one.lines(kind)
    pairs = [Pair(line, there[_place(line)]) for line in here if _place(line) in there]
    if not pairs:
        return [f"no line in common, of {len(here)} and {len(there)}"]
    alone = len(here) + len(there) - 2 * len(pairs)
    said = [f"{len(pairs)} lines of both" + (f", {alone} of one alone" if alone else "")]
    gaps = [pair.gap() for pair in pairs]
    starts: dict[int, str] = {}  # of the first pair so far apart, the widest words
    for level, words in LEVELS.items():
        if far := [i for i, (size, _) in enumerate(gaps) if size > level]:
            starts[far[0]] = words
    if not starts:
        return [*said, "the same in all of them"]
    if before := min(starts):
        said.append(f"the same up to {pairs[before - 1]}")
    return said + [
        f"apart by {words} from {pairs[i]} on: {pairs[i].shown(gaps[i][1])}"
        for i, words in starts.items()
    ]


def _means(one: RunFolder, other: RunFolder) -> list[str]:
    periods = [run.config.get("LOG_PERIOD") for run in (one, other)]
    other_steps = "LOG_PERIOD differs, so that lines are means over other steps"
    return [other_steps] if periods[0] != periods[1] else []


def _place(line: Line) -> tuple[int, int]:
    return line["epoch"], line.get("step", 0)


def _tests(one: RunFolder, other: RunFolder) -> list[str]:
    here, there = (run.summary.get("metrics", {}) for run in (one, other))
    if not here or not there:
        return ["not of both"]
    return _both([(k, here.get(k), there.get(k)) for k in here if here[k] != there.get(k)])


def _short(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)
