"""Caffe2's pickles, read without running anything of theirs.

The pickle may ask for four names of numpy and codecs. It gets stand-ins that hold numbers and
nothing else, so that not even numpy's own unpickling, which trusts its input, is reached.
"""

import pickle
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from cmvl.utils.errors import CheckpointError


class _DType:
    """Stands for numpy.dtype: plain numbers only."""

    def __init__(self, code: str, align: object = False, copy: object = True):
        if not re.fullmatch(r"[fiu][1248]|b1", str(code)):
            raise ValueError(f"an array of type {code!r}; weights are numbers")
        self.code, self.order = str(code), "="

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"an array of byte order {state[1]!r}")
        self.order = state[1]


class _Array:
    """Stands for numpy's `ndarray` and `_reconstruct`; filled by its pickled state."""

    tensor: Tensor | None = None

    def __init__(self, *arguments: object):
        pass

    def __setstate__(self, state: tuple) -> None:
        *_, shape, dtype, fortran, raw = state
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        flat = np.frombuffer(raw, dtype.order + dtype.code)
        array = flat.reshape(shape, order="F" if fortran else "C")
        self.tensor = torch.from_numpy(array.astype(dtype.code, order="C"))


ALLOWED = {("_codecs", "encode"): str.encode}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    ALLOWED[_module, "_reconstruct"] = _Array
for _module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray"):
    ALLOWED[_module, "ndarray"], ALLOWED[_module, "dtype"] = _Array, _DType


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ALLOWED:
            raise CheckpointError(
                f"it asks for {module}.{name}, which may run code; of a pickle only numpy arrays "
                "are read. If you trust where it comes from, save its tensors with torch.save"
            )
        return ALLOWED[module, name]


def read_caffe2(file: BinaryIO, path: Path) -> dict[str, Tensor]:
    """The `blobs` of a pickle; what else it holds is ignored."""
    try:
        content = _Unpickler(file, encoding="latin1").load()
    except CheckpointError as error:
        raise CheckpointError(f"{path}: refused: {error}") from None
    except Exception as error:  # a foreign file makes the unpickler raise anything
        raise CheckpointError(
            f"{path}: not a readable weights file, neither torch's nor a Caffe2 pickle of arrays "
            f"({error}); was it copied whole?"
        ) from error
    blobs = content.get("blobs") if isinstance(content, dict) else None
    if not isinstance(blobs, dict):
        raise CheckpointError(
            f"{path}: a pickle without the dict `blobs` of Caffe2's files; convert it to a torch "
            "file of tensors"
        )
    for name, blob in blobs.items():
        if getattr(blob, "tensor", None) is None:
            raise CheckpointError(f"{path}: blob {name} is no array; expected numbers")
    return {str(name): blob.tensor for name, blob in blobs.items()}
