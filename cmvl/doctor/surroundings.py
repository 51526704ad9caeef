"""The machine, the decoder, and what works with what is installed."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import av
import torch

from cmvl.doctor.findings import MISSING, OK, Finding
from cmvl.utils.cores import cores
from cmvl.utils.environment import installed


def machine() -> Iterator[Finding]:
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(i)
            text = (
                f"{about.name}, {about.total_memory / 2**30:.0f} GiB, sm_{about.major}{about.minor}"
            )
            yield Finding(f"GPU {i}", OK, text)
    else:
        build = torch.version.cuda or torch.version.hip
        why = f"driver too old or absent for CUDA {build}" if build else "PyTorch without CUDA"
        yield Finding("GPU", MISSING, f"none: {why}; NUM_GPUS 0 runs on the CPU")
    yield Finding("CPU", OK, f"{cores()} cores, {torch.get_num_threads()} threads of torch")
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free / 2**30
        text = f"{free:.1f} GiB free; loader workers hand over their batches in it"
        yield Finding("shared memory", OK if free >= 1 else MISSING, text)


def decoder() -> Iterator[Finding]:
    libraries = av.library_versions
    ffmpeg = ", ".join(f"{k} {'.'.join(map(str, libraries[k]))}" for k in sorted(libraries)[:3])
    yield Finding("PyAV", OK, f"{av.__version__} with FFmpeg's {ffmpeg}")
    for name in ("h264", "hevc", "vp9", "av1", "mpeg4"):
        there = name in av.codecs_available
        yield Finding(name, OK if there else MISSING, "" if there else "such videos cannot be read")


def features() -> Iterator[Finding]:
    gpu, nccl = torch.cuda.is_available(), torch.distributed.is_nccl_available()
    weights = Path(torch.hub.get_dir()) / "checkpoints"
    detector = any(weights.glob("fasterrcnn_resnet50_fpn_v2*"))
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or ""
    onnx = [name for name in ("onnx", "onnxscript", "onnxruntime") if not find_spec(name)]
    tools = [name for name in ("pytest", "pytest-xdist", "ruff") if not installed(name)]
    yield _feature("training on a GPU", gpu, "a GPU and its driver")
    yield _feature("several GPUs", gpu and nccl, "NCCL, which PyTorch for CUDA brings along")
    yield _feature("torch.compile", bool(compiler), "a C compiler (cc, gcc or $CC)")
    yield _feature("export to ONNX", not onnx, f"pip install {' '.join(onnx)}")
    yield _feature("finding persons (AVA)", detector, "torchvision's Faster R-CNN; or bring boxes")
    yield _feature("tests and lint", not tools, f"pip install {' '.join(tools)}")


def _feature(what: str, there: bool, needs: str) -> Finding:
    return Finding(what, OK if there else MISSING, "" if there else f"needs {needs}")
