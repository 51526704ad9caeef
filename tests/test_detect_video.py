"""The rolling window of key frames against the window computed outright."""

import gc
import weakref

import pytest
import torch

from cmvl.config import load_cfg
from cmvl.inference import build_box_predictor, detect_video
from cmvl.structures import KeyFrame, VideoBatch

from toy import MEMORY, random_clips, toy_box_model

AVERAGE = "MEMORY.INTERACTION AveragePoolMemory MEMORY.REDUCTION 2"
EACH = "MEMORY.INTERACTION AssociativeMemory MEMORY.NORM batch_each MEMORY.REDUCTION 2"


def box_model(opts=MEMORY):
    model = toy_box_model(opts=opts)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def keyframes(seconds, clips, video="a", counts=None):
    """Batches of one key frame each, with 2 boxes (or counts[i])."""
    for i, second in enumerate(seconds):
        r = 2 if counts is None else counts[i]
        rows = torch.tensor([[0, 1.0, 2.0, 9.0, 12.0], [0, 5.0, 0.0, 16.0, 16.0]])[:r].double()
        keyframe = KeyFrame(video, second, rows[:, 1:] / 16)
        index = torch.tensor([i])
        yield VideoBatch(clips[None, i : i + 1], torch.zeros(r, 5), index, rows, (), (keyframe,))


def direct(model, clips, i, w, stride=1):
    """The 2w + 1 clips around key frame i, those beyond the ends repeated, all at once."""
    rows = [min(max(i + n * stride, 0), len(clips) - 1) for n in range(-w, w + 1)]
    boxes = torch.tensor([[w, 1.0, 2.0, 9.0, 12.0], [w, 5.0, 0.0, 16.0, 16.0]]).double()
    with torch.inference_mode():
        return model(clips[rows][None], boxes).sigmoid()


@pytest.mark.parametrize("opts", [MEMORY, AVERAGE, EACH, ""])
@pytest.mark.parametrize("w,stride,chunk", [(0, 1, 1), (2, 1, 1), (4, 1, 1), (2, 3, 1), (4, 1, 4)])
def test_equals_the_direct_window(opts, w, stride, chunk):
    model, clips = box_model(opts), random_clips(11, 3, 4, 16, 16)
    batches = keyframes(range(902, 913), clips)
    found = list(detect_video(model, batches, w, stride, chunk))
    assert [keyframe.second for _, keyframe in found] == list(range(902, 913))
    for i, (scores, _) in enumerate(found):
        want = direct(model, clips, i, w, stride)
        torch.testing.assert_close(scores, want, rtol=0, atol=1e-12)
    if opts and w:
        alone = direct(model, clips, 5, 0)
        assert (found[5][0] - alone).abs().max() > 1e-6  # the window matters


def test_key_frames_without_boxes_feed_the_memory():
    model, clips = box_model(), random_clips(6, 3, 4, 16, 16)
    found = list(detect_video(model, keyframes(range(6), clips, counts=[0, 2, 0, 0, 1, 0]), 2))
    assert [(k.second, len(s)) for s, k in found] == [(1, 2), (4, 1)]
    torch.testing.assert_close(found[0][0], direct(model, clips, 1, 2))
    torch.testing.assert_close(found[1][0], direct(model, clips, 4, 2)[:1])


def test_a_missing_second_is_left_out():
    model, clips = box_model(), random_clips(5, 3, 4, 16, 16)
    seconds = [10, 11, 13, 14, 15]  # 12 could not be read
    found = dict((k.second, s) for s, k in detect_video(model, keyframes(seconds, clips), 1))
    with torch.inference_mode():
        boxes = torch.tensor([[0, 1.0, 2.0, 9.0, 12.0], [0, 5.0, 0.0, 16.0, 16.0]]).double()
        torch.testing.assert_close(found[11], model(clips[None, [1, 0]], boxes).sigmoid())
        torch.testing.assert_close(found[13], model(clips[None, [2, 3]], boxes).sigmoid())


def test_one_pass_per_key_frame_and_flat_memory():
    model, passes = box_model(), []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    clips, alive = random_clips(1, 3, 4, 16, 16).expand(60, -1, -1, -1, -1), []
    kept = model.memory.push

    def push(X):
        M = kept(X)
        alive.append(M[0])
        return M

    model.memory.push = push
    most, handles = 0, []
    for _ in detect_video(model, keyframes(range(60), clips), 2):
        handles += [weakref.ref(m) for m in alive]
        alive.clear()
        gc.collect()
        most = max(most, sum(h() is not None for h in handles))
    assert len(passes) == 60 and most <= 5


def test_videos_of_a_stream_are_kept_apart():
    cfg = load_cfg(None, [*MEMORY.split(), "TASK", "detection", "TRAIN.BATCH_SIZE", "64"])
    model, clips = box_model(), random_clips(7, 3, 4, 16, 16)

    def stream():
        yield from keyframes(range(902, 906), clips[:4], "a")
        yield from keyframes(range(902, 905), clips[4:], "b")

    found = list(build_box_predictor(cfg, "test")(model, stream()))
    assert [(k.video, k.second) for _, k, _ in found[3:5]] == [("a", 905), ("b", 902)]
    torch.testing.assert_close(found[3][0], direct(model, clips[:4], 3, 1))
    torch.testing.assert_close(found[4][0], direct(model, clips[4:], 0, 1))


def test_scores_of_boxes_are_not_made_in_half_precision():
    model, clips = box_model().float(), random_clips(2, 3, 4, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        batch = keyframes([902], clips)
        ((scores, _),) = detect_video(model, batch, 0)
    assert scores.dtype == torch.float32
