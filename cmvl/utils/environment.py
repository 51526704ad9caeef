"""What a run or a machine consists of: versions, devices, the command that was given."""

import platform
import re
import shlex
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from cmvl import __version__

if TYPE_CHECKING:
    import torch

NEEDED = "torch torchvision av numpy opencv-python fvcore iopath simplejson tensorboard matplotlib"


def versions() -> dict[str, str]:
    """Of cmvl, Python, the system and everything cmvl needs; "missing" for what is not there."""
    own = {"cmvl": __version__, "python": platform.python_version(), "system": platform.platform()}
    return own | {name: installed(name) or "missing" for name in NEEDED.split()}


def installed(package: str) -> str:
    """The version of a package, "" if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def device_name(device: "torch.device") -> str:
    import torch  # late: versions must be had where torch cannot be imported

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def command_line() -> str:
    """The command this process was started with, ready for a shell."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    words = ["-m", module.name] if module else [_relative(sys.argv[0])]
    return shlex.join(["python", *words, *sys.argv[1:]])


def _relative(path: str) -> str:
    """To the current folder, if it lies below it."""
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return path


def peak_memory(device: "torch.device") -> float:
    """Peak GiB: of the device's tensors on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**30
    with suppress(OSError):  # Linux; `ru_maxrss` begins with the peak of the process's parent
        if found := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) / 2**20
    import resource  # late too: not every system has it, and versions must be had on all

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, elsewhere KiB
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
