"""Folders as runs leave them, for tests of what reads them."""

import json


def write_run(folder, lines=(), n=0, memory="NoMemory", top1=None):
    """A run's folder with a log, and a config and results if asked."""
    (folder / "results").mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if n:
        (folder / "config_train.yaml").write_text(
            f"VIDEO: {{NUM_CLIPS: {n}}}\nMEMORY: {{INTERACTION: {memory}}}\n"
            "DATA: {NUM_FRAMES: 8, SAMPLING_RATE: 4}\nMODEL: {BACKBONE: Slow}\n"
        )
    if top1 is not None:
        summary = json.dumps({"metrics": {"top1": top1}})
        (folder / "results" / "summary.json").write_text(summary)
    return folder
