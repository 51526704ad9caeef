"""One step: gradients add up over passes, steps without a number change nothing."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch.optim import SGD

from cmvl.config import batch_plan, check_training, load_cfg
from cmvl.engine.optim import build_schedule
from cmvl.engine.precision import Precision
from cmvl.engine.step import Stepper
from cmvl.engine.trouble import memory_advice, view_memory_advice
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d
from cmvl.losses import BoxLoss, VideoLoss
from cmvl.structures import VideoBatch
from cmvl.utils.errors import ConfigError, TrainingError, UserError

from toy import MEMORY, random_clips, toy_box_model, toy_model

CPU = torch.device("cpu")


def batch(first, count):
    clips, labels = random_clips(4, 3, 3, 4, 16, 16), torch.arange(4)
    rows = slice(first, first + count)
    return VideoBatch(clips[rows], labels[rows], torch.arange(4)[rows])


def stepper(model, loss_fn=None, **options):
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_fn = loss_fn or VideoLoss(torch.nn.CrossEntropyLoss(), 1.0)
    return Stepper(model, optimizer, loss_fn, Precision(None, CPU), **options)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_passes_add_up(build, loss_fn, batch):
    """With norms that keep to their statistics, whose batches would be smaller otherwise."""
    results = []
    for batches in ([batch(0, 4)], [batch(0, 2), batch(2, 2)], [batch(i, 1) for i in range(4)]):
        model = build(opts=f"{MEMORY} MEMORY.NORM layer").train()
        for module in model.modules():
            if isinstance(module, ClipwiseBatchNorm3d):
                module.eval()
        step = stepper(model, loss_fn)
        values = [step(batches, 0.1) for _ in range(3)]
        results.append((values[-1]["loss"], values[-1]["grad_norm"], state(model)))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=1e-12)


def test_passes_of_a_step_add_up():
    assert_passes_add_up(toy_model, None, batch)


def test_a_step_begins_anew():
    """Without the last one's gradients; and a scaler learns from it."""
    model = toy_model(opts=f"{MEMORY} MEMORY.NORM layer").eval()
    step = stepper(model)
    first, second = (step([batch(0, 4)], 0.0)["grad_norm"] for _ in range(2))
    torch.testing.assert_close(first, second)
    step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1)
    torch.testing.assert_close(step([batch(0, 4)], 0.0)["grad_norm"], first)
    assert step.scaler.get_scale() == 4.0


def test_boxes_of_all_passes_count_alike():
    """Key frames have different numbers of boxes, some of them none."""
    boxes = torch.tensor([[0, 0, 0, 12, 12], [0, 4, 4, 15, 15], [2, 0, 0, 9, 9], [10, 2, 2, 8, 9]])
    labels = (torch.arange(20).view(4, 5) % 3 == 0).double()

    def part(first, count):
        mine = (boxes[:, 0] >= 3 * first) & (boxes[:, 0] < 3 * (first + count))
        rows = boxes[mine].double() - torch.tensor([3 * first, 0, 0, 0, 0])
        return replace(batch(first, count), boxes=rows, labels=labels[mine])

    assert_passes_add_up(toy_box_model, BoxLoss(), part)


def test_a_step_without_a_number_changes_nothing():
    model = toy_model().train()
    step = stepper(model, guard=True)
    step([batch(0, 4)], 0.1)
    before = state(model)
    with torch.no_grad():
        model.head.projection.bias[0] = torch.nan
    values = step([batch(0, 4)], 0.1)
    assert not torch.isfinite(values["grad_norm"])
    with torch.no_grad():
        model.head.projection.bias[0] = before["head.projection.bias"][0]
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)


def test_a_gradient_is_cut_to_its_largest_norm():
    moved = []
    for limit in (0.0, 1e-3):
        model = toy_model().train()
        before = state(model)["head.projection.weight"]
        norm = stepper(model, max_norm=limit)([batch(0, 4)], 1.0)["grad_norm"]
        moved.append((state(model)["head.projection.weight"] - before).norm())
    assert norm > 1e-2  # as it was
    torch.testing.assert_close(moved[1], moved[0] * 1e-3 / norm, rtol=1e-4, atol=0)


def test_out_of_memory_says_what_would_fit():
    cfg = load_cfg(
        None, ["VIDEO.NUM_CLIPS", "5", "TRAIN.BATCH_SIZE", "80", "TRAIN.PRECISION", "float32"]
    )
    with pytest.raises(TrainingError, match="out of memory with 16 videos x 5 clips") as told:
        with memory_advice(cfg, CPU):
            raise torch.OutOfMemoryError("CUDA out of memory")
    for mend in ("multi_iteration", "SOLVER.ACCUM_ITERS 2", "TRAIN.BATCH_SIZE below 80", "CHUNK"):
        assert mend in str(told.value)
    assert "CLIPS_AT_ONCE" not in str(told.value)


def advice(*options):
    """Of a step without memory, and what stands on its first line of mends."""
    with pytest.raises(TrainingError) as told, memory_advice(load_cfg(None, options), CPU):
        raise torch.OutOfMemoryError("CUDA out of memory")
    return str(told.value).splitlines()[1].partition(" (")[0].split()


@pytest.mark.parametrize(
    "before",
    [
        "",
        "VIDEO.CLIPS_AT_ONCE 5",
        "SOLVER.WARMUP_EPOCHS 9 SOLVER.WARMUP_START_LR 0.02 SOLVER.COSINE_END_LR 0.003",
        "SOLVER.LR_POLICY steps_with_relative_lrs SOLVER.STEPS [0,9] SOLVER.LRS [1,0.1]",
    ],
)
def test_what_would_fit_is_the_same_step(before):
    """As many videos at the same rates, of which one clip each is held."""
    options = [*before.split(), "VIDEO.NUM_CLIPS", "5", "TRAIN.BATCH_SIZE", "64"]
    one, other = (load_cfg(None, [*options, *more]) for more in ([], advice(*options)))
    plan, thrifty = batch_plan(one), batch_plan(other)
    assert (thrifty.step_videos, thrifty.at_once) == (plan.step_videos, 1) and plan.at_once == 5
    before, after = (build_schedule(cfg, batch_plan(cfg).lr_scale) for cfg in (one, other))
    for epoch in (0, 4.5, 9, 100, 195.9):
        assert after(epoch) == pytest.approx(before(epoch), rel=1e-5)


@pytest.mark.parametrize("strategy", ["batch_reduction", "multi_iteration"])
def test_all_clips_stay_in_one_pass_where_a_norm_wants_them(strategy):
    options = ["VIDEO.STRATEGY", strategy, "VIDEO.NUM_CLIPS", "5", "VIDEO.CLIPS_AT_ONCE", "5"]
    assert advice(*options, "BN.CLIPWISE", "False")[0] == "SOLVER.ACCUM_ITERS"


def test_out_of_memory_under_multi_iteration():
    opts = "VIDEO.NUM_CLIPS 5 VIDEO.STRATEGY multi_iteration VIDEO.CLIPS_AT_ONCE 3".split()
    with pytest.raises(TrainingError, match="VIDEO.CLIPS_AT_ONCE below 3") as told:
        with memory_advice(load_cfg(None, opts), CPU):
            raise torch.OutOfMemoryError("CUDA out of memory")
    assert "VIDEO.STRATEGY" not in str(told.value)


def test_out_of_memory_in_views():
    """Lowering TEST.CHUNK changes no score; predictions know no TEST.PRECISION."""
    found = []
    for halves, opts in ((True, []), (False, []), (True, ["TEST.CHUNK", "1"])):
        with pytest.raises(UserError, match="views of 256 x 256 at a time on cpu") as told:
            with view_memory_advice(load_cfg(None, opts), CPU, halves):
                raise torch.OutOfMemoryError("CUDA out of memory")
        found.append([key in str(told.value) for key in ("TEST.CHUNK below 10", "bfloat16", "GPU")])
    assert found == [[True, True, True], [True, False, True], [False, True, True]]


@pytest.mark.parametrize(
    ("options", "ranks", "told"),
    [
        ("", 1, ""),
        ("", 8, ""),
        ("", 16, "with 16 processes: MEMORY.NORM batch .* makes 1 video: set BN.SYNC True"),
        ("BN.SYNC True", 16, ""),
        ("MEMORY.NORM layer", 16, ""),
        ("MEMORY.INFUSION ResidualInfusion", 16, ""),
        ("MEMORY.INFUSION ResidualInfusion MEMORY.INTERACTION AveragePoolMemory", 16, "1 video"),
        ("MEMORY.NORM batch_all", 16, ""),
        ("BN.CLIPWISE False", 16, ""),
        ("SOLVER.ACCUM_ITERS 16", 1, "TRAIN.BATCH_SIZE to 160 or more"),
        ("VIDEO.STRATEGY multi_iteration", 16, ""),
    ],
)
def test_a_process_needs_two_videos_for_its_norms(options, ranks, told):
    options = (
        f"MEMORY.INTERACTION AssociativeMemory VIDEO.NUM_CLIPS 5 TRAIN.BATCH_SIZE 80 {options}"
    )
    with pytest.raises(ConfigError, match=told) if told else nullcontext():
        check_training(load_cfg(None, options.split()), ranks)
