"""What only a GPU can show; skipped without one."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from test_fast import LAST, STRATEGIES, assert_alike, batch, stepper, three_steps
from test_run_net import CM, log_lines, run_net
from torch import nn

from cmvl.engine.precision import allow_tf32
from cmvl.engine.transfer import Transfer
from cmvl.launch.seat import Seat, seated
from cmvl.layers.grouped_norm import grouped_norm

from toy import free_port

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
GPU = torch.device("cuda")
PLAIN = ("MODEL.MEMORY_FORMAT", "contiguous")
FORMATS = [PLAIN, LAST]
LAYER = ("MEMORY.NORM", "layer")  # a batch norm over 3 gates magnifies roundings


@pytest.fixture(autouse=True)
def exact():
    """No TensorFloat-32 where numbers are compared."""
    before = torch.backends.cudnn.allow_tf32
    allow_tf32(False)
    yield
    allow_tf32(before)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_float64_trains_as_on_a_cpu(strategy):
    found = three_steps(strategy, *PLAIN, device=GPU)
    assert_alike(found, three_steps(strategy, *PLAIN), atol=1e-8)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_float32_trains_as_on_a_cpu(strategy, form):
    expected = three_steps("batch_reduction", *LAYER, *PLAIN, dtype=torch.float32)
    found = three_steps(strategy, *LAYER, *form, device=GPU, dtype=torch.float32)
    assert_alike(found, expected, atol=2e-3)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", FORMATS)
def test_mixed_precision_is_near_float32(form, half):
    """Both strategies' losses and the direction of their gradients."""

    def loss_and_gradient(*options, half=None):
        step = stepper(*LAYER, *options, device=GPU, precision=half, dtype=torch.float32)
        if step.scaler.is_enabled():  # its usual scale begins with overflows
            step.scaler = torch.amp.GradScaler(init_scale=64.0)
        loss = step([batch()], 0.0)["loss"]
        return loss.cpu(), torch.cat([p.grad.flatten() for p in step.model.parameters()]).cpu()

    loss, gradient = loss_and_gradient(*PLAIN)
    for strategy in STRATEGIES:
        options = ("VIDEO.STRATEGY", strategy, *form)
        mixed_loss, mixed_gradient = loss_and_gradient(*options, half=half)
        torch.testing.assert_close(mixed_loss, loss, rtol=0.02, atol=0)
        # Norms over three positions magnify roundings; bfloat16 on a CPU has 0.968.
        near = 0.93 if half == torch.bfloat16 else 0.99
        assert F.cosine_similarity(mixed_gradient, gradient, dim=0) > near


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_deterministic(strategy, form, monkeypatch):
    """The same bits each time, and nothing in a step that torch cannot repeat."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    half = {"precision": torch.bfloat16, "dtype": torch.float32}
    options = (*form, "DETERMINISTIC", True)
    torch.use_deterministic_algorithms(True)  # raises
    try:
        first, *others = [three_steps(strategy, *options, device=GPU, **half) for _ in range(3)]
    finally:
        torch.use_deterministic_algorithms(False)
    for other in others:
        assert_alike(other, first, atol=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_compiled(strategy):
    torch._dynamo.reset()
    options = (*LAST, "MODEL.BACKBONE", "SlowOnly")
    expected = three_steps(strategy, *options, device=GPU)
    compiled = three_steps(strategy, *options, "MODEL.COMPILE", True, device=GPU)
    assert_alike(compiled, expected, atol=1e-8)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_step_never_waits_for_the_gpu(strategy):
    """Its result is read by the log, once in LOG_PERIOD steps."""
    half = {"precision": torch.bfloat16, "dtype": torch.float32}
    step = stepper("VIDEO.STRATEGY", strategy, device=GPU, **half)
    step([batch()], 0.02)
    pinned = batch(1).pin_memory()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step([pinned], 0.02)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_batches_arrive_whole_beside_the_work():
    """Memory of a batch is not given to the next one while it is still read."""
    transfer, work = Transfer(GPU), torch.randn(4096, 4096, device=GPU)
    batches = [batch(seed, frames=64).pin_memory() for seed in range(8)]
    sums = []
    for one in batches:
        moved = transfer(one)
        for _ in range(3):
            work = work @ work / work.norm()
        sums.append(moved.clips.sum())
        del moved
    assert [int(s) for s in sums] == [int(one.clips.sum()) for one in batches]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_grouped_norm_is_a_batch_norm_per_group(layout, together, dtype):
    """By SyncBatchNorm's kernels where the layout allows it, else by operations."""
    B, N, C = 4, 3, 8
    torch.manual_seed(0)
    x = torch.randn(B * N, C, 2, 6, 6, device=GPU).to(dtype).contiguous(memory_format=layout)
    weight, bias = (torch.randn(C, device=GPU, requires_grad=True) for _ in range(2))
    x.requires_grad_()
    y, mean, var = grouped_norm(x, weight, bias, N, 1e-5, False, together)
    assert y.is_contiguous(memory_format=layout) and y.dtype == dtype
    groups = x.unflatten(0, (N, B)) if together else x.unflatten(0, (B, N)).transpose(0, 1)
    parts = []
    for n, group in enumerate(groups.unbind(0)):
        parts.append(F.batch_norm(group.float(), None, None, weight, bias, True, 0.0, 1e-5))
        of_group = group.float().transpose(0, 1).flatten(1)
        torch.testing.assert_close(mean[n], of_group.mean(1), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(var[n], of_group.var(1), rtol=1e-3, atol=1e-4)
    expected = torch.stack(parts)
    expected = (expected if together else expected.transpose(0, 1)).flatten(0, 1)
    atol = 1e-4 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(y.float(), expected, rtol=0, atol=atol)
    dy = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad((y.float() * dy).sum(), [x, weight, bias]),
        torch.autograd.grad((expected * dy).sum(), [x, weight, bias]),
        strict=True,
    ):
        assert (a.float() - b.float()).norm() < atol * b.float().norm()


def test_nccl():
    """One process is a group too: the weights' gradients go through NCCL."""
    with seated(Seat(0, 1, 0, "127.0.0.1", free_port(), hosts_store=True), True, 60, 60):
        model = nn.parallel.DistributedDataParallel(nn.Linear(4, 2).to(GPU))
        model(torch.ones(3, 4, device=GPU)).sum().backward()
        assert torch.equal(model.module.bias.grad.cpu(), torch.full((2,), 3.0))
        dist.all_reduce(torch.ones(1))  # and gloo beside it


def test_run_net_on_a_gpu(demo_data, tmp_path):
    """Trains, validates and tests in bfloat16 with the whole of the data path."""
    result = run_net(
        "--cfg", CM, "DATA.PATH_TO_DATA_DIR", demo_data / "relation", "NUM_GPUS", 1,
        "SOLVER.MAX_EPOCH", 2, "TRAIN.BATCH_SIZE", 20, "LOG_PERIOD", 1, "TRAIN.EVAL_PERIOD", 1,
        "OUTPUT_DIR", tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    steps = log_lines(tmp_path, "train")
    assert len(steps) == 2 * (12 // 4) and all(line["memory_gb"] > 0 for line in steps)
    assert log_lines(tmp_path, "val")
