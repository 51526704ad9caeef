"""A trained net as one file that needs no cmvl: `torch.export` or ONNX, checked against the net.

B videos (any number), N clips of each (fixed for a video), T frames, V test views.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import simplejson
import torch
from torch import Tensor, nn

from cmvl.inference import Activation, score_views
from cmvl.model import VideoModel, as_maps, as_matrices
from cmvl.utils.errors import UserError
from cmvl.utils.files import writing

FORMATS = ("pt2", "onnx")
ONNX_NEEDS = ("onnx", "onnxscript", "onnxruntime")
RTOL = 1e-3  # largest difference, relative to the largest value of an output
BATCH = 2  # of the examples; the exported net takes any number


class ClipEncoder(nn.Module):
    """f: uint8 (B, 3, T, H, W) -> X_n, one map (B, d, t, h, w) per pathway."""

    def __init__(self, model: VideoModel):
        super().__init__()
        self.backbone = model.backbone

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(clips))


class VideoScores(nn.Module):
    """All of it: uint8 (B, N, 3, T, H, W) -> scores (B, K), the mean over the N clips.

    As the test does it with one crop a clip: memory from all N, windows of the training size.
    """

    def __init__(self, model: VideoModel, activation: Activation):
        super().__init__()
        self.model, self.activation = model, activation

    def forward(self, clips: Tensor) -> Tensor:
        B, N = clips.shape[:2]
        maps = [x.unflatten(0, (B, N)) for x in self.model.backbone(clips.flatten(0, 1))]
        X, memory = as_matrices(maps), self.model.memory
        X_hat = memory.infuse(X, memory.recall(memory.push(X), X))
        return self.activation(self.model.head.windows(as_maps(X_hat, maps))).mean(dim=(1, 2))


@dataclass(frozen=True)
class Part:
    """What is exported: the module, the input's name and shape after B, its outputs' names."""

    module: nn.Module
    reference: Callable[[Tensor], tuple[Tensor, ...]]  # what the outputs are held against
    input: str
    shape: tuple[int, ...]
    outputs: tuple[str, ...]

    def example(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        shape = (BATCH, *self.shape)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def clip_part(model: VideoModel, frames: int, side: int) -> Part:
    """The backbone on clips of `frames` x `side` x `side`."""
    outputs = tuple(f"X{p or ''}" for p in range(len(model.backbone.dims)))
    module = ClipEncoder(model).eval()
    reference = lambda clips: tuple(x[:, 0] for x in model.features(clips[:, None]))  # noqa: E731
    return Part(module, reference, "clips", (3, frames, side, side), outputs)


def video_part(
    model: VideoModel, frames: int, side: int, N: int, activation: Activation, task: str
) -> Part:
    """The whole for N clips of a video. Raises UserError for a task whose head needs boxes."""
    if not hasattr(model.head, "windows"):
        raise UserError(
            f"TASK {task}: the whole model takes boxes and a sliding memory, which one fixed graph "
            "does not hold; export the clip encoder (--part clip)"
        )

    def reference(clips: Tensor) -> tuple[Tensor, ...]:
        scores = [score_views(model, v[:, None], N, activation).mean(dim=(0, 1)) for v in clips]
        return (torch.stack(scores),)

    module = VideoScores(model, activation).eval()
    return Part(module, reference, "clips", (N, 3, frames, side, side), ("scores",))


def export(part: Part, path: Path, kind: str, about: dict) -> float:
    """Write `path` ("pt2" or "onnx") and `about` beside it as .json; the largest relative
    difference of the file's outputs, read back, from the net's.

    Raises UserError if packages are missing, the net cannot be exported, the outputs differ or the
    disk takes no more.
    """
    clips = part.example()
    write, read = {"pt2": (_write_pt2, _read_pt2), "onnx": (_write_onnx, _read_onnx)}[kind]
    if kind == "onnx" and (missing := [name for name in ONNX_NEEDS if not find_spec(name)]):
        raise UserError(f"ONNX needs more packages: pip install {' '.join(missing)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings(), writing(path):
            warnings.simplefilter("ignore")  # about opsets and attributes; the check decides
            write(part, clips, path)
    except UserError:
        path.unlink(missing_ok=True)
        raise
    except Exception as error:  # exporters raise whatever comes
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"this net cannot be exported to {kind}: {reason[0]}") from error
    more = torch.cat([clips, clips.flip(0)[:1]])  # another B than that of the example
    with torch.inference_mode():
        worst = difference(read(path, more), part.reference(more))
    if not worst <= RTOL:
        path.unlink()
        raise UserError(
            f"{kind}: outputs differ by {worst:.1e} of the largest value, more than {RTOL}; the "
            "file is not kept"
        )
    described = {"input": {part.input: ["B", *part.shape]}, "outputs": list(part.outputs)}
    text = simplejson.dumps({**described, "difference": worst, **about}, indent=2)
    path.with_suffix(".json").write_text(text + "\n")
    return worst


def difference(got: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest, relative to each output's largest value; infinite for other shapes or NaN."""
    if [x.shape for x in got] != [x.shape for x in wanted]:
        return float("inf")
    pairs = zip(got, wanted, strict=True)
    shares = [float((a - b).abs().max() / b.abs().max()) for a, b in pairs]
    return max(x if x == x else float("inf") for x in shares)


def _write_pt2(part: Part, clips: Tensor, path: Path) -> None:
    program = torch.export.export(part.module, (clips,), dynamic_shapes=_shapes(), strict=False)
    file = BytesIO()  # written to a full disk itself, it ends the process
    torch.export.save(program, file)
    path.write_bytes(file.getbuffer())


def _read_pt2(path: Path, clips: Tensor) -> tuple[Tensor, ...]:
    outputs = torch.export.load(path).module()(clips)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _write_onnx(part: Part, clips: Tensor, path: Path) -> None:
    program = torch.onnx.export(
        part.module,
        (clips,),
        dynamo=True,
        dynamic_shapes=_shapes(),
        input_names=[part.input],
        output_names=list(part.outputs),
        verbose=False,
    )
    program.save(path)


def _read_onnx(path: Path, clips: Tensor) -> tuple[Tensor, ...]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in session.get_inputs())
    outputs = session.run(None, {name: np.ascontiguousarray(clips.numpy())})
    return tuple(map(torch.from_numpy, outputs))


def _shapes() -> tuple[dict]:
    return ({0: torch.export.Dim("B", min=1, max=4096)},)
