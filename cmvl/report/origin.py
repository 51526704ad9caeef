"""Where a run comes from: its commands, its config against the one it is based on, its machine."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cmvl.config import load_cfg
from cmvl.config.compare import flat
from cmvl.report.runs import RunFolder
from cmvl.utils.errors import UserError

OWN = ("OUTPUT_DIR", "TRAIN.ENABLE", "TEST.ENABLE")  # say where and when, not what
DEFAULTS = "the defaults"
Difference = tuple[str, Any, Any]  # key, here, there; None for a key that is not there


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[Difference]:
    """The keys whose values differ, in alphabetical order."""
    keys = sorted({*here, *there} - set(OWN))
    return [(k, here.get(k), there.get(k)) for k in keys if here.get(k) != there.get(k)]


def commands(run: RunFolder) -> list[str]:
    """Those that started and resumed the run, once each."""
    return list(dict.fromkeys(line["command"] for line in run.lines("start") if "command" in line))


def base_of(run: RunFolder) -> tuple[str, dict[str, Any]]:
    """The `_BASE_` of the run's config file, by name and values; the defaults if the run does not
    tell its file, if the file has gone, or has no base.
    """
    for line in run.lines("start"):
        file = _config_file(line.get("command", ""))
        path = Path(line.get("folder", "."), file)
        if base := _named_base(path):
            try:
                cfg = load_cfg(path.parent / base, ["TRAIN.ENABLE", "False"])
            except UserError:
                continue  # it has changed since
            return str(Path(file).parent / base), dict(flat(yaml.safe_load(cfg.dump())))
    return DEFAULTS, dict(flat(yaml.safe_load(load_cfg().dump())))


def _config_file(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError:  # somebody has written in the log
        words = []
    places = [i for i, word in enumerate(words[:-1]) if word == "--cfg"]
    return words[places[0] + 1] if places else ""


def _named_base(path: Path) -> str:
    """`_BASE_` of a config file as it is by now: gone, empty, or half edited for the next run."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return str(content.get("_BASE_") or "") if isinstance(content, dict) else ""


def machine(run: RunFolder) -> list[tuple[str, str]]:
    """(what, value) of the last start: device, versions."""
    starts = run.lines("start")
    hidden = ("kind", "command", "folder", "job")
    return [(k, str(v)) for k, v in (starts[-1] if starts else {}).items() if k not in hidden]
