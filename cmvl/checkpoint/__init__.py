"""Weights and runs on disk, ours and others'."""

from cmvl.checkpoint.convert import convert
from cmvl.checkpoint.folder import find_last
from cmvl.checkpoint.formats import read_weights
from cmvl.checkpoint.run import Checkpointer, Position
from cmvl.checkpoint.weights import fill, load_weights

__all__ = [
    "Checkpointer", "Position", "convert", "fill", "find_last", "load_weights", "read_weights",
]  # fmt: skip
