"""Weights and runs on disk, ours and others'."""

from cmvl.checkpoint.convert import convert
from cmvl.checkpoint.folder import find_last
from cmvl.checkpoint.run import Checkpointer, Position
from cmvl.checkpoint.weights import load_weights

__all__ = ["Checkpointer", "Position", "convert", "find_last", "load_weights"]
