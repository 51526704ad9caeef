"""From a YAML file and KEY VALUE pairs to one frozen, checked config."""

import ast
import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from cmvl.config.defaults import get_cfg
from cmvl.config.validate import validate
from cmvl.utils.errors import ConfigError

# Where a PySlowFast key's job is done by another key here.
MOVED = {
    "MODEL.ARCH": "MODEL.BACKBONE",
    "MODEL.MODEL_NAME": "MODEL.BACKBONE",
    "TRAIN.CHECKPOINT_FILE_PATH": "TRAIN.INIT_FROM",
    "TEST.BATCH_SIZE": "TEST.CHUNK",
    "TRAIN.MIXED_PRECISION": "TRAIN.PRECISION",
    "NUM_SHARDS": "--num_shards (of tools/run_net.py)",
    "SHARD_ID": "--shard_id (of tools/run_net.py)",
    "BN.NUM_SYNC_DEVICES": "BN.SYNC",
    "BN.NORM_TYPE": "BN.SYNC",
    "MIXUP.LABEL_SMOOTH_VALUE": "TRAIN.LABEL_SMOOTHING",
}
# PySlowFast keys with one value here, whatever the line says.
FIXED = {
    "DATA.INPUT_CHANNEL_NUM": "3 colours a pathway",
    "MODEL.LOSS_FUNC": "the task's (TASK)",
    "MODEL.HEAD_ACT": "the task's (TASK)",
    "DETECTION.ENABLE": "TASK detection or not",
    "DATA.MULTI_LABEL": "TASK multi_label or not",
    "MODEL.SINGLE_PATHWAY_ARCH": "known from MODEL.BACKBONE",
    "MODEL.MULTI_PATHWAY_ARCH": "known from MODEL.BACKBONE",
    "RESNET.TRANS_FUNC": "bottleneck_transform, or basic for RESNET.DEPTH 18 and 34",
    "RESNET.NUM_GROUPS": "1",
    "RESNET.STRIDE_1X1": "False",
    "RESNET.INPLACE_RELU": "True",
    "TRAIN.CHECKPOINT_TYPE": "found in the file",
    "TEST.CHECKPOINT_TYPE": "found in the file",
    "TRAIN.CHECKPOINT_INFLATE": "found in the file",
    "DATA.DECODING_BACKEND": "pyav, or DATA.BACKEND's",
    "DATA_LOADER.ENABLE_MULTI_THREAD_DECODE": "False: workers are the parallelism",
    "LOG_MODEL_INFO": "`python tools/paper.py --measure` has it",
}
RENAMED = {"MODEL.CHANNELS_LAST": "MODEL.MEMORY_FORMAT"}  # of our own


@dataclass(frozen=True)
class Setting:
    """One leaf of a config source: `where` is "file:line" or "command line"."""

    key: str
    value: Any
    where: str


def load_cfg(
    file: str | Path | None = None, opts: Sequence[str] = (), text: str | None = None
) -> CfgNode:
    """Defaults <- the file's `_BASE_` chain <- the file <- KEY VALUE pairs; checked and frozen.

    `text`: the file's content, where it is to be had otherwise, as in a checkpoint. Raises
    ConfigError, naming file, line, key and the nearest known key or the wanted type.
    """
    cfg = get_cfg()
    settings = list(_from_file(Path(file), text)) if file else []
    settings += _from_pairs(opts)
    complaints = [text for setting in settings for text in _apply(cfg, setting)]
    if not complaints:
        complaints = validate(cfg)
    if complaints:
        raise ConfigError("\n".join(complaints))
    cfg.freeze()
    return cfg


def dump_cfg(cfg: CfgNode, path: Path) -> None:
    """Write the effective config, every key of it, where `load_cfg` can read it again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(cfg.dump())


def _from_file(
    path: Path, text: str | None = None, below: tuple[Path, ...] = ()
) -> Iterator[Setting]:
    """The settings of a file, those of its `_BASE_` first (a path relative to the file)."""
    if path.resolve() in below:
        raise ConfigError(f"{path}: _BASE_ leads back to the file itself")
    try:
        root = yaml.compose(path.read_text(encoding="utf-8") if text is None else text)
    except OSError as error:
        raise ConfigError(f"{path}: no such config file ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: this is no text in UTF-8: save it in that encoding") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}:1: expected KEY: VALUE lines")
    for setting in _leaves(root, path):
        if setting.key == "_BASE_":
            base = Path(str(setting.value)).expanduser()
            yield from _from_file(path.parent / base, None, (*below, path.resolve()))
    yield from (s for s in _leaves(root, path) if s.key != "_BASE_")


def _leaves(node: yaml.MappingNode, path: Path, prefix: str = "") -> Iterator[Setting]:
    for name, value in node.value:
        key = prefix + str(name.value)
        if isinstance(value, yaml.MappingNode):
            yield from _leaves(value, path, key + ".")
        else:
            try:
                loaded = yaml.SafeLoader("").construct_document(value)
            except yaml.YAMLError as error:
                raise ConfigError(f"{path}: not valid YAML: {error}") from error
            yield Setting(key, loaded, f"{path}:{name.start_mark.line + 1}")


def _from_pairs(opts: Sequence[str]) -> list[Setting]:
    if len(opts) % 2:
        raise ConfigError(
            f"command line: overrides come as KEY VALUE pairs, but {opts[-1]!r} has no partner"
        )
    return [Setting(k, v, "command line") for k, v in zip(opts[::2], opts[1::2], strict=True)]


def _apply(cfg: CfgNode, setting: Setting) -> Iterator[str]:
    """Put one setting in its place; yields what is wrong with it."""
    *parents, name = setting.key.split(".")
    node: Any = cfg
    for parent in parents:
        node = node.get(parent) if isinstance(node, CfgNode) else None
    if not isinstance(node, CfgNode) or name not in node:
        yield f"{setting.where}: unknown key {setting.key}{_advice(cfg, setting.key)}"
    elif isinstance(node[name], CfgNode):
        yield f"{setting.where}: {setting.key} is a group of keys, not a value"
    else:
        value, fits = _coerce(node[name], setting.value)
        if fits:
            node[name] = value
        else:
            wanted = type(node[name]).__name__
            yield (
                f"{setting.where}: {setting.key} wants a value of type {wanted} "
                f"such as {node[name]!r}, got {setting.value!r}"
            )


def _coerce(default: Any, value: Any) -> tuple[Any, bool]:
    """The value in the default's type, and whether it has one."""
    if isinstance(value, str) and isinstance(default, str):
        if "/" in value:  # else ~ may be a separator
            value = os.path.expanduser(value)  # or a folder named ~ would be made, here
    elif isinstance(value, str):
        value = {"true": "True", "false": "False"}.get(value, value)  # as YAML has them
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value, False
    if type(default) is float and type(value) is int:
        value = float(value)
    if isinstance(default, list) and isinstance(value, list | tuple):
        value = [_element(element) for element in value]
    return value, type(value) is type(default)


def _element(value: Any) -> Any:
    """Of a list: YAML takes 1e-3 and 1.5e3, without a point or a sign, for texts."""
    number = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)e[-+]?[0-9]+"
    return float(value) if isinstance(value, str) and re.fullmatch(number, value, re.I) else value


def _advice(cfg: CfgNode, key: str) -> str:
    if key in MOVED:
        return f"; PySlowFast's {key} is {MOVED[key]} here"
    if key in FIXED:
        return f"; here that is {FIXED[key]}: leave the line out"
    if key in RENAMED:
        return f"; it is {RENAMED[key]} now"
    known = list(_keys(cfg))
    same_name = [k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    begun = [k for k in known if k.startswith(key)]
    near = same_name or begun or difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else "; none is alike, see cmvl/config/defaults.py"


def _keys(cfg: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield prefix + name
