"""Weights out: a backbone and its head as PySlowFast reads them."""

import re
from pathlib import Path

from cmvl.checkpoint.folder import find_last, write_whole
from cmvl.checkpoint.formats import read_weights
from cmvl.checkpoint.names import pyslowfast_name
from cmvl.utils.errors import CheckpointError

# Names of its slow, i3d and slowfast nets.
PYSLOWFAST = re.compile(
    r"(s1\.pathway[01]_stem\.|s[2-5]\.pathway[01]_(res\d+\.branch(1|1_bn|2\.[abc](_bn)?)|"
    r"nonlocal\d+\.\w+)\.|s[1-4]_fuse\.|head\.projection\.)"
)


def convert(source: Path, target: Path, drop_memory: bool) -> str:
    """Write any readable weights as PySlowFast's `.pyth`; returns what was done."""
    if target.exists():
        raise CheckpointError(f"{target}: is there already; remove it or name another file")
    weights = read_weights(find_last(source) if source.is_dir() else source)
    memory = [key for key in weights.state if key.startswith("memory.")]
    if memory and not drop_memory:
        raise CheckpointError(
            f"{weights.path}: holds a memory, {memory[0]} and {len(memory) - 1} more tensors, for "
            "which PySlowFast has no place: convert the stage-one checkpoint, or give --drop-memory"
        )
    state = {pyslowfast_name(k): v for k, v in weights.state.items() if k not in memory}
    foreign = [key for key in state if not PYSLOWFAST.match(key)]
    if foreign:
        raise CheckpointError(
            f"{weights.path}: PySlowFast has no tensor {foreign[0]} ({len(foreign)} such); only "
            "SlowOnly, I3D and SlowFast backbones can be converted"
        )
    write_whole({"epoch": weights.epoch, "model_state": state, "cfg": weights.cfg_text}, target)
    dropped = f"; dropped: memory ({len(memory)} tensors)" if memory else ""
    return (
        f"wrote {len(state)}/{len(weights.state)} tensors of {weights.path} ({weights.kind}) to "
        f"{target} (PySlowFast){dropped}"
    )
