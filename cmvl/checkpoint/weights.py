"""Weights from a file into a model: whole and said aloud, or an error that changes nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from cmvl.checkpoint.folder import find_last
from cmvl.checkpoint.formats import Weights, read_weights
from cmvl.checkpoint.inflate import inflate, is_2d, with_rank
from cmvl.utils.errors import CheckpointError

SHOWN = 5  # mismatches listed in an error
COUNTER = "num_batches_tracked"  # used by no forward pass of ours, absent from Caffe2's files


def load_weights(model: nn.Module, path: str | Path, may_miss: Sequence[str]) -> str:
    """Fill `model` from a file or a run's folder; returns e.g. "loaded 312/314 tensors from ...".

    `may_miss` says whether training starts here. If it is not empty, keys starting with one of it
    may be on one side only, a head of another class count is skipped, and image nets are
    inflated. All else raises CheckpointError.
    """
    return fill(model, find_weights(path), may_miss)


def find_weights(path: str | Path) -> Weights:
    """Of a file, or of a run's folder the last."""
    path = Path(path)
    return read_weights(find_last(path) if path.is_dir() else path)


def fill(model: nn.Module, weights: Weights, may_miss: Sequence[str]) -> str:
    """`load_weights` of what has been read."""
    own = model.state_dict()
    match = find_match(weights, own, tuple(may_miss))
    if match.wrong:
        more = f"\n  and {len(match.wrong) - SHOWN} more" if len(match.wrong) > SHOWN else ""
        raise CheckpointError(
            f"{weights.path} ({weights.kind}) does not fit the model:\n  "
            + "\n  ".join(match.wrong[:SHOWN])
            + f"{more}\nThe config must make the net that these weights belong to: see "
            "MODEL.BACKBONE, RESNET, SLOWFAST, NONLOCAL, MEMORY and MODEL.NUM_CLASSES"
        )
    model.load_state_dict({**own, **match.values})
    return _report(weights, match, len(own))


@dataclass
class Match:
    """Which tensor goes where, what stands aside and why, and what is wrong."""

    values: dict[str, Tensor] = field(default_factory=dict)
    inflated: int = 0
    kept: dict[str, str] = field(default_factory=dict)  # the model's -> why not loaded
    unused: dict[str, str] = field(default_factory=dict)  # the file's -> why not used
    wrong: list[str] = field(default_factory=list)


def find_match(weights: Weights, own: dict[str, Tensor], may_miss: tuple[str, ...]) -> Match:
    """`own`: the model's tensors."""
    match, state = Match(unused=dict(weights.unused)), weights.state
    starting = bool(may_miss)
    inflating = starting and is_2d(state.values())
    other_head = _other_head(weights, own) if starting else ""
    for key, mine in own.items():
        if other_head and key.startswith("head."):
            match.kept[key] = other_head
        elif key in state:
            _fit(match, key, state[key], mine, inflating)
        elif key.endswith(COUNTER) or key.startswith(may_miss):
            match.kept[key] = "not in the file"
        else:
            match.wrong.append(f"missing {key} {tuple(mine.shape)}")
    for key in state:
        if key in own:
            continue
        if key.startswith(may_miss):
            match.unused[key] = "not in the model"
        else:
            match.wrong.append(f"the model has no {key} {tuple(state[key].shape)}")
    return match


def _fit(match: Match, key: str, value: Tensor, mine: Tensor, inflating: bool) -> None:
    spread = inflate(value, mine.shape) if inflating else None
    fitted = with_rank(value, mine.ndim) if spread is None else spread
    if fitted.shape != mine.shape:
        match.wrong.append(
            f"{key} is {tuple(value.shape)} in the file, {tuple(mine.shape)} in the model"
        )
        return
    match.values[key] = fitted
    match.inflated += value.shape != mine.shape and spread is not None


def _other_head(weights: Weights, own: dict[str, Tensor]) -> str:
    """Why the file's head cannot be the model's, if classes or its input are all that differ."""
    for key, why in weights.unused.items():
        if key.startswith("head."):
            return why
    pairs = [(v, own[k]) for k, v in weights.state.items() if k.startswith("head.") and k in own]
    shapes = [(with_rank(a, b.ndim).shape, b.shape) for a, b in pairs]
    if any(a[1:] != b[1:] for a, b in shapes):
        return ""
    return next((f"{a[0]} classes in the file, {b[0]} here" for a, b in shapes if a != b), "")


def _report(weights: Weights, match: Match, count: int) -> str:
    text = f"loaded {len(match.values)}/{count} tensors from {weights.path} ({weights.kind})"
    if match.inflated:
        text += f"; inflated {match.inflated} kernels from 2D"
    for what, keys in (("left at their initial values", match.kept), ("not used", match.unused)):
        if keys:
            text += f"; {what}: {', '.join(_groups(keys))}"
    return text


def _groups(reasons: dict[str, str]) -> Iterable[str]:
    """memory.interactions.0.W_k.weight, ... -> memory (9 tensors, not in the file)."""
    groups: dict[tuple[str, str], list[str]] = {}
    for key, why in reasons.items():
        top = COUNTER if key.endswith(COUNTER) else key.split(".", 1)[0]
        groups.setdefault((top, why), []).append(key)
    for (top, why), keys in groups.items():
        yield f"{top} ({len(keys)} tensor{'s' * (len(keys) > 1)}, {why})"
