"""Memory layout, compilation and precision change how a step is computed, not what."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.optim import SGD

from cmvl.backbones.resnet import SlowOnly
from cmvl.config import load_cfg
from cmvl.engine.fast import build_fast, lays_channels_last
from cmvl.engine.precision import Precision, build_precision
from cmvl.engine.setup import setup
from cmvl.engine.step import Stepper, build_stepper
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d
from cmvl.layers.repeatable_pool import RepeatablePool3d
from cmvl.losses import VideoLoss
from cmvl.model import build_model
from cmvl.structures import VideoBatch
from cmvl.tasks import find_task
from cmvl.utils.errors import ConfigError

from toy import random_clips

CPU = torch.device("cpu")
LAST = ("MODEL.MEMORY_FORMAT", "channels_last")
STRATEGIES = ["batch_reduction", "multi_iteration"]
SMALL = (
    "MODEL.BACKBONE SlowFast DATA.NUM_FRAMES 8 RESNET.WIDTH_PER_GROUP 8 SLOWFAST.BETA_INV 4 "
    "RESNET.STAGE_BLOCKS [1,1,1,1] MODEL.NUM_CLASSES 5 MODEL.DROPOUT_RATE 0.0 VIDEO.NUM_CLIPS 2 "
    "RESNET.ZERO_INIT_FINAL_BN False MEMORY.INTERACTION AssociativeMemory BN.SYNC True"
).split()


def stepper(*options, device=CPU, precision=None, dtype=torch.float64):
    cfg = load_cfg(None, [*SMALL, *map(str, options)])
    torch.manual_seed(0)
    model = build_model(cfg, find_task("classification").head).to(device, dtype).train()
    build_fast(cfg, model)
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)
    loss_fn = VideoLoss(torch.nn.CrossEntropyLoss(), 1.0)
    return Stepper(model, optimizer, loss_fn, Precision(precision, device))


def batch(seed=0, frames=8):
    clips = random_clips(3, 2, 3, frames, 32, 32, seed=seed)
    return VideoBatch(clips, torch.arange(3) + seed % 2, torch.arange(3))


def three_steps(strategy, *options, frames=8, **kind):
    """Losses and the state after three steps."""
    step = stepper("VIDEO.STRATEGY", strategy, "DATA.NUM_FRAMES", frames, *options, **kind)
    losses = [step([batch(seed, frames)], 0.02)["loss"].cpu() for seed in range(3)]
    state = {name: value.cpu() for name, value in step.model.state_dict().items()}
    return torch.stack(losses), state


def assert_alike(result, plain, atol=1e-9):
    torch.testing.assert_close(result[0], plain[0], rtol=0, atol=atol)
    assert result[1].keys() == plain[1].keys()
    for name, value in plain[1].items():
        torch.testing.assert_close(result[1][name], value, rtol=0, atol=atol, msg=name)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_deterministic(strategy):
    repeatable = three_steps(strategy, "DETERMINISTIC", True)
    assert_alike(repeatable, three_steps(strategy), atol=1e-12)
    pools = stepper("DETERMINISTIC", True).model.backbone.modules()
    assert any(isinstance(pool, RepeatablePool3d) for pool in pools)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_channels_last(strategy, monkeypatch):
    """In float32 and two threads: other convolutions on a CPU answer in the plain layout.

    A batch norm over 3 gates would magnify the roundings.
    """
    torch.set_num_threads(2)
    native, layouts = F.batch_norm, []

    def seen(x, *rest, **options):
        layouts.append(x.is_contiguous(memory_format=torch.channels_last))
        return native(x, *rest, **options)

    monkeypatch.setattr(F, "batch_norm", seen)
    layer = ("MEMORY.NORM", "layer")
    plain = three_steps(strategy, *layer, dtype=torch.float32)
    assert not all(layouts)
    layouts.clear()
    other = three_steps(strategy, *layer, *LAST, dtype=torch.float32)
    assert_alike(other, plain, atol=1e-3)
    assert len(layouts) > 50 and all(layouts)  # no copy into another layout on the way


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_compiled(strategy, monkeypatch):
    """Traced forward and backward; the last stage, code generation, needs a compiler."""
    compiled = []

    def compile_function(function, **options):
        compiled.append(function)
        return torch._dynamo.optimize("aot_eager")(function)

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", compile_function)
    options = ("MODEL.BACKBONE", "SlowOnly", *LAST)
    plain = three_steps("batch_reduction", *options, frames=2)
    compiled_too = three_steps(strategy, *options, "MODEL.COMPILE", True, frames=2)
    assert_alike(compiled_too, plain)
    assert len(compiled) == 5 + 3  # stem and four blocks; push, recall and infuse


def test_a_backbone_without_blocks_is_compiled_whole(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda f, **_: compiled.append(f) or f)
    monkeypatch.setattr(SlowOnly, "blocks", ())
    model = stepper("MODEL.BACKBONE", "SlowOnly", "MODEL.COMPILE", True).model
    assert [f.__self__ for f in compiled] == [model.backbone] + 3 * [model.memory]


def test_gradients_are_laid_as_the_weights():
    """Else DistributedDataParallel copies each, and warns."""
    step = stepper(*LAST)
    step([batch()], 0.02)
    convolutions = [m for m in step.model.modules() if isinstance(m, torch.nn.Conv3d)]
    assert convolutions
    for layer in convolutions:
        assert layer.weight.grad.stride() == layer.weight.stride(), layer


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_bfloat16_trains_near_float32(strategy):
    """The forward pass: gradients of bfloat16 convolutions on a CPU are not always numbers."""
    cfg = load_cfg(None, [*SMALL, "VIDEO.STRATEGY", strategy])
    torch.manual_seed(0)
    model = build_model(cfg, find_task("classification").head).train()
    clips = random_clips(3, 2, 3, 8, 32, 32)
    expected = model(clips)
    with Precision(torch.bfloat16, CPU).autocast():
        logits = model(clips)
        X = model.features(clips)
    assert logits.dtype == X[0].dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, rtol=0.05, atol=0.05)


def test_the_memory_keeps_to_float32():
    cfg = load_cfg(None, SMALL)
    model = build_model(cfg, find_task("classification").head)
    X = [torch.randn(2, 2, 8, d).bfloat16() for d in model.backbone.dims]
    with Precision(torch.bfloat16, CPU).autocast():
        M = model.memory.push(X)
        M_n = model.memory.recall(M, X)
    assert {m.dtype for m in (*M, *M_n)} == {torch.float32}
    wide = [x.float() for x in X]
    for popped, expected in zip(M_n, model.memory.pop(M, wide), strict=True):
        torch.testing.assert_close(popped, expected.mean(2, keepdim=True), rtol=1e-4, atol=1e-5)


def test_choice_of_precision():
    assert str(build_precision("auto", CPU)) == "float32"
    assert str(build_precision("bfloat16", CPU)) == "bfloat16"
    assert not build_precision("bfloat16", CPU).scaler().is_enabled()
    assert str(build_precision("float16", CPU)) == "float16"  # of a test
    cfg = load_cfg(None, ["TRAIN.PRECISION", "float16"])
    with pytest.raises(ConfigError, match="TRAIN.PRECISION float16 is for GPUs"):
        build_stepper(cfg, None, None, None, CPU)


@pytest.mark.parametrize(
    ("options", "device", "last"),
    [
        ("TRAIN.PRECISION bfloat16", "cuda", True),
        ("TRAIN.PRECISION float32", "cuda", False),
        ("TRAIN.PRECISION bfloat16", "cpu", False),
        ("TRAIN.PRECISION bfloat16 MODEL.MEMORY_FORMAT contiguous", "cuda", False),
        ("MODEL.MEMORY_FORMAT channels_last", "cpu", True),
    ],
)
def test_choice_of_layout(options, device, last):
    assert lays_channels_last(load_cfg(None, options.split()), torch.device(device)) == last


@pytest.mark.parametrize("allowed", [False, True])
def test_tensorfloat(tmp_path, allowed):
    """MODEL.TF32: of convolutions, and of the memory's products."""
    options = ["OUTPUT_DIR", str(tmp_path), "NUM_GPUS", "0", "MODEL.TF32", str(allowed)]
    setup(load_cfg(None, options), "train")
    assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == allowed


def test_norms_without_groups():
    """BN.CLIPWISE False reaches the norms of backbone and memory."""
    cfg = load_cfg(None, [*SMALL, "BN.CLIPWISE", "False"])
    model = build_model(cfg, find_task("classification").head)
    build_fast(cfg, model)
    for part in (model.backbone, model.memory):
        norms = [m for m in part.modules() if isinstance(m, ClipwiseBatchNorm3d)]
        assert norms and not any(norm.clipwise for norm in norms)


ADVISED = """
import runpy
from pathlib import Path
runpy.run_path("tools/run_net.py", run_name="imported")
import torch
held = torch.ones(2**24)
for line in Path("/proc/self/smaps").open():  # a Python may ask for some of its own
    words = line.split()
    if words[0] == "VmFlags:" and first <= held.data_ptr() < last:
        print("hg" in words)
    elif not words[0].endswith(":"):
        first, last = (int(word, 16) for word in words[0].split("-"))
"""


@pytest.mark.parametrize(("given", "advised"), [(None, True), ("0", False)])
def test_a_tool_asks_for_huge_pages(request, given, advised):
    """Nothing that it imports makes a tensor before; and the user has the last word."""
    if not Path("/proc/self/smaps").exists():
        pytest.skip("needs Linux")
    others = {name: v for name, v in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    environment = others if given is None else others | {"THP_MEM_ALLOC_ENABLE": given}
    words, here = [sys.executable, "-c", ADVISED], request.config.rootpath
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(advised)]
