"""model_card.md beside checkpoints: what the weights are, how they came about, their use."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmvl.checkpoint.folder import BEST, checkpoints
from cmvl.report.origin import base_of, commands, differences, machine
from cmvl.report.runs import RunFolder, read_run
from cmvl.utils.errors import UserError
from cmvl.utils.logging import logger

CARD = "model_card.md"
TASKS = {
    "classification": "tells the class of a video",
    "multi_label": "tells which classes occur in a video",
    "detection": "tells the actions of people in given boxes",
}
MEMORIES = {
    "NoMemory": "without memory",
    "AssociativeMemory": "with an associative memory (Eq. 2, 3)",
    "AveragePoolMemory": "with an average-pool memory",
}
LICENCE = """\
None is stated for these weights. cmvl's Apache-2.0 is that of its code. What may be done with
weights depends on the data they learned from and on the weights they started from, here {sources}:
look at the terms of both, and write yours in this place before you pass them on."""


def write_card(output_dir: Path) -> Path | None:
    """Write the card of a run, or anew; returns its path, None where there are no checkpoints.

    What it cannot tell of is warned of: a damaged file of an earlier job is not this one's end.
    """
    names = [path.name for path in checkpoints(output_dir)]
    if not names:
        return None
    folder = output_dir / "checkpoints"
    names += [BEST] if (folder / BEST).is_file() else []
    path = folder / CARD
    try:
        text = card(read_run(output_dir), names)
    except UserError as error:
        logger.warning("%s is not written: %s", path, error)
        return None
    path.write_text(text, encoding="utf-8", errors="replace")  # of paths with other bytes
    return path


def card(run: RunFolder, names: Sequence[str]) -> str:
    """Markdown. `names`: of the checkpoints beside it."""
    start = _start(run.config)
    sources = f"`{start}`" if start else "random ones"
    sections = {
        "Use": _use(run, names),
        "Data": _data(run),
        "Results": _results(run),
        "Training": _training(run),
        "Config": _config(run),
        "Versions": _table(("what", "version"), [row for row in machine(run) if row[0] != "data"]),
        "Licence": LICENCE.format(sources=sources),
    }
    parts = [f"# {run.name}", _about(run.config)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def _start(config: dict[str, Any]) -> str:
    """The weights a training began with; "" for random ones."""
    return config["TRAIN.INIT_FROM"] or config["TORCHVISION.WEIGHTS"]


def _about(config: dict[str, Any]) -> str:
    memory, N = config["MEMORY.INTERACTION"], config["VIDEO.NUM_CLIPS"]
    T, tau = config["DATA.NUM_FRAMES"], config["DATA.SAMPLING_RATE"]
    return (
        f"A video model that {TASKS[config['TASK']]}: {config['MODEL.BACKBONE']} "
        f"{MEMORIES.get(memory, f'with {memory}')}, {config['MODEL.NUM_CLASSES']} classes. It was "
        f"trained with cmvl on {N} clip{'s' * (N > 1)} of a video at a time, each of {T} frames "
        f"({T}x{tau} at {config['DATA.TARGET_FPS']} frames a second) of "
        f"{config['DATA.TRAIN_CROP_SIZE']} pixels."
    )


def _use(run: RunFolder, names: Sequence[str]) -> str:
    """Checkpoints carry config and class names, so the command needs nothing else."""
    tested = Path(run.summary.get("weights", "")).name  # so that the results are the command's
    name = tested if tested in names else names[-1]
    path = shlex.quote(str(run.path / "checkpoints" / name))
    boxes = " --boxes" if run.config["TASK"] == "detection" else ""
    return (
        f"From cmvl's root folder, with any video file, folder or list:\n\n"
        f"```bash\npython tools/predict.py {path} VIDEO{boxes}\n```\n\n"
        f"The file carries its config and, where they are known, the names of its classes. "
        f"Checkpoints here: {', '.join(f'`{name}`' for name in names)}."
    )


def _data(run: RunFolder) -> str:
    config = run.config
    rows = [
        ("training", _seen(run, "train", config["TRAIN.DATASET"])),
        ("test", _seen(run, "test", config["TEST.DATASET"])),
        ("classes", config["MODEL.NUM_CLASSES"]),
    ]
    return _table(("", ""), rows)


def _seen(run: RunFolder, job: str, reader: str) -> str:
    """The reader's name may be a data set's, whose form other data have too."""
    told = [line["data"] for line in run.lines("start") if line["job"] == job]
    return f"{told[-1]}, read as {reader}" if told else "not run"


def _results(run: RunFolder) -> str:
    if not run.summary:
        return "Not tested."
    rows = [(name, _number(value)) for name, value in run.summary["metrics"].items()]
    left_out = len(run.summary["skipped"])
    rows += [("left out, unreadable", left_out)] if left_out else []
    return f"Of `{run.summary['weights']}`, metrics in percent:\n\n" + _table(
        ("metric", "value"), rows
    )


def _training(run: RunFolder) -> str:
    config, steps = run.config, run.lines("train")
    rows = [
        ("epochs", f"{steps[-1]['epoch'] if steps else 0} of {config['SOLVER.MAX_EPOCH']}"),
        ("clip budget B", config["TRAIN.BATCH_SIZE"]),
        ("base learning rate", config["SOLVER.BASE_LR"]),
        ("started from", _start(config) or "scratch"),
    ]
    if validations := run.lines("val"):
        name = next(k for k in validations[-1] if k not in ("kind", "epoch"))
        best = max(validations, key=lambda line: line[name])
        rows.append(("best validation", f"{name} {_number(best[name])}, epoch {best['epoch']}"))
    text = "\n".join(commands(run))
    return _table(("what", "value"), rows) + (f"\n\n```bash\n{text}\n```" if text else "")


def _config(run: RunFolder) -> str:
    base, values = base_of(run)
    changed = [
        (f"`{key}`", f"`{here}`", f"`{there}`")
        for key, here, there in differences(run.config, values)
    ]
    told = "Every key is in the checkpoint, and in `config_train.yaml` above this folder."
    if not changed:
        return f"As {base}. {told}"
    return f"{told} Against {base}:\n\n" + _table(("key", "here", "there"), changed)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = lambda row: " | ".join(str(cell).replace("|", r"\|") for cell in row)  # noqa: E731
    return "\n".join(f"| {cells(line)} |" for line in lines)
