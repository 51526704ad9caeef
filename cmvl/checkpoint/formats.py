"""From a file to tensors under our names. What a file is shows in its content, not in its name."""

import gzip
import io
import re
import tarfile
import zlib
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from cmvl.checkpoint.caffe2 import read_caffe2
from cmvl.checkpoint.names import CAFFE2, CMVL, Naming, find_naming, our_name, rename
from cmvl.checkpoint.subbn import fold_sub_bn, has_sub_bn
from cmvl.utils.errors import CheckpointError

GZIP, ZIP, TAR = b"\x1f\x8b", b"PK\x03\x04", b"ustar"
# The first object in torch's old files, as a pickle writes it.
TORCH_LEGACY = (119547037146038801333356).to_bytes(10, "little")
WRAPPINGS = 3  # gzip and tar around a file, at most
WRAPPERS = ("model.", "module.")  # the name that trainers give it; DistributedDataParallel's
STATES = ("model_state", "state_dict", "model")  # where tensors may sit in a torch file


@dataclass(frozen=True)
class Weights:
    """A file's tensors under our names, and what is known of them."""

    path: Path
    kind: str
    state: dict[str, Tensor]
    unused: dict[str, str]  # entry -> why it was passed over
    epoch: int = -1  # just finished, counted from 0
    cfg_text: str = ""

    @property
    def own_cfg(self) -> str:
        """The config, if it is one of ours."""
        return self.cfg_text if self.kind == CMVL else ""


def read_weights(path: Path) -> Weights:
    """Any of the known formats."""
    with closing(_open(path)) as file:
        if not _is_torch(file):
            return _weights(path, CAFFE2, read_caffe2(file, path))
        content = _read_torch(file, path)
    tensors = next((content[k] for k in STATES if isinstance(content.get(k), dict)), content)
    tensors = {str(key): value for key, value in tensors.items()}
    for key, value in tensors.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: entry {key!r} is a {type(value).__name__}; expected a dict of tensors, "
                f"bare or under {', '.join(STATES)}"
            )
    tensors = _unwrapped(tensors)
    naming = find_naming(tensors)
    if naming is None:
        raise CheckpointError(
            f"{path}: its names, {', '.join([*tensors][:3]) or 'none'} ..., are not ours, "
            "PySlowFast's, pytorchvideo's or torchvision's; rename them to PySlowFast's"
        )
    epoch, cfg_text = content.get("epoch", -1), content.get("cfg", "")
    return _weights(path, naming, tensors, epoch, cfg_text)


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what wraps the net, or with torch.compile any part of it."""
    tensors = {key.replace("_orig_mod.", ""): value for key, value in tensors.items()}
    for prefix in WRAPPERS:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def read_checkpoint(path: Path) -> dict:
    """A dict saved by torch, as it stands."""
    with closing(_open(path)) as file:
        return _read_torch(file, path)


def _weights(
    path: Path, naming: Naming, tensors: dict[str, Tensor], epoch: int = -1, cfg_text: str = ""
) -> Weights:
    names, unused = rename(naming, tensors)
    name, count = next(iter(Counter(names.values()).most_common(1)), ("", 0))
    if count > 1:
        twins = ", ".join(key for key in names if names[key] == name)
        raise CheckpointError(f"{path} ({naming.kind}): {twins} all name {name}; leave one")
    state, kind = {names[key]: tensors[key] for key in names}, naming.kind
    if has_sub_bn(state):
        kind += " with sub-BN"
        try:
            state = fold_sub_bn(state)
        except ValueError as error:
            raise CheckpointError(f"{path} ({kind}): {error}") from error
    state = {our_name(key): value for key, value in state.items()}
    return Weights(path, kind, state, dict.fromkeys(unused, naming.why), epoch, cfg_text)


def _open(path: Path) -> BinaryIO:
    """The file without gzip and tar around it."""
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path}: no such weights file. Stage-one weights come from your own stage-one run "
            "(its OUTPUT_DIR/checkpoints) or from PySlowFast's model zoo"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        for _ in range(WRAPPINGS):
            head = _head(file)
            if head.startswith(GZIP):
                with file:
                    file = io.BytesIO(gzip.decompress(file.read()))
            elif head[257:262] == TAR:
                with file:
                    file = _only_member(file)
            else:
                return file
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be unpacked: {error}; unpack it yourself and name the weights in it"
        ) from error
    raise CheckpointError(f"{path}: packed more than {WRAPPINGS} times; unpack it")


def _only_member(file: BinaryIO) -> BinaryIO:
    with tarfile.open(fileobj=file) as archive:
        members = [member for member in archive if member.isfile()]
        if len(members) != 1:
            raise ValueError(f"an archive of {len(members)} files; expected one")
        return io.BytesIO(archive.extractfile(members[0]).read())


def _head(file: BinaryIO) -> bytes:
    head = file.read(512)
    file.seek(0)
    return head


def _is_torch(file: BinaryIO) -> bool:
    head = _head(file)
    return head.startswith(ZIP) or TORCH_LEGACY in head[:32]


def _read_torch(file: BinaryIO, path: Path) -> dict:
    """Without running code from the file."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file makes the unpickler raise anything
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked:
            raise CheckpointError(
                f"{path}: refused: it asks for {asked[1]}, which may run code; expected a dict of "
                "tensors, such as a `state_dict`"
            ) from None
        # torch's own advice, to load it unsafely, is left out.
        reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().split("\n")[0]
        raise CheckpointError(
            f"{path}: not a readable torch file ({reason}); is it a checkpoint, copied whole?"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a dict of weights")
    return content
