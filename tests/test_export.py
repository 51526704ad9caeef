"""Nets as files: the same outputs, for any number of videos, or a refusal."""

import json
from importlib.util import find_spec

import pytest
import torch

from cmvl.config import load_cfg
from cmvl.inference import softmax
from cmvl.model import build_model
from cmvl.report import export as exporting
from cmvl.report.export import clip_part, difference, export, video_part
from cmvl.tasks import find_task
from cmvl.utils.errors import UserError

SMALL = (
    "MODEL.NUM_CLASSES 4 RESNET.DEPTH 18 RESNET.STAGE_BLOCKS [1,1,1,1] RESNET.WIDTH_PER_GROUP 8 "
    "DATA.TRAIN_CROP_SIZE 32 NUM_GPUS 0 MEMORY.INTERACTION AssociativeMemory TRAIN.BATCH_SIZE 6 "
    "VIDEO.NUM_CLIPS 3"
)
NETS = {
    "pathways": "MODEL.BACKBONE SlowFast",
    "pool": "MEMORY.INTERACTION AveragePoolMemory MEMORY.INFUSION ResidualInfusion",
}


def net(opts="", seed=0):
    cfg = load_cfg(None, [*SMALL.split(), *opts.split()])
    torch.manual_seed(seed)
    model = build_model(cfg, find_task(cfg.TASK).head).eval()
    for parameter in model.parameters():  # nothing may be lost in zeros
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("opts", NETS.values(), ids=NETS.keys())
def test_the_whole_model_gives_the_tests_scores(opts, tmp_path):
    part = video_part(net(opts), 8, 64, 3, softmax, "classification")  # four windows of 32
    worst = export(part, tmp_path / "net.pt2", "pt2", {"class_names": ["a", "b", "c", "d"]})
    assert worst < 1e-5
    about = json.loads((tmp_path / "net.json").read_text())
    assert about["input"] == {"clips": ["B", 3, 3, 8, 64, 64]} and about["outputs"] == ["scores"]
    scores = torch.export.load(tmp_path / "net.pt2").module()(part.example()[:1])
    assert scores.shape == (1, 4) and scores.sum().item() == pytest.approx(1, abs=1e-5)
    assert scores.std() > 1e-3


def test_the_clip_encoder_gives_a_map_per_pathway(tmp_path):
    model = net("MODEL.BACKBONE SlowFast")
    part = clip_part(model, 8, 32)
    assert export(part, tmp_path / "clip.pt2", "pt2", {}) < 1e-5
    slow, fast = torch.export.load(tmp_path / "clip.pt2").module()(part.example())
    assert (slow.shape[1], fast.shape[1]) == model.backbone.dims


def test_a_net_with_boxes_is_refused():
    model = net("TASK detection")
    with pytest.raises(UserError, match="TASK detection: the whole model takes boxes"):
        video_part(model, 8, 32, 3, torch.sigmoid, "detection")


def test_a_file_whose_outputs_differ_is_not_kept(tmp_path, monkeypatch):
    part, other = (clip_part(net(seed=seed), 8, 32) for seed in (0, 1))
    wrong = exporting.Part(part.module, other.reference, part.input, part.shape, part.outputs)
    with pytest.raises(UserError, match="differ by .* the file is not kept"):
        export(wrong, tmp_path / "clip.pt2", "pt2", {})
    assert not list(tmp_path.iterdir())


def test_differences():
    x = torch.tensor([1.0, -4.0])
    assert difference([x], [x]) == 0 and difference([x + 0.5], [x]) == 0.125
    assert difference([x[:1]], [x]) == difference([x * torch.nan], [x]) == float("inf")


def test_what_cannot_be_traced_is_refused(tmp_path):
    class Net(torch.nn.Module):
        def forward(self, clips):
            return clips.float() if clips.sum() > 5 else clips

    part = exporting.Part(Net(), lambda x: (x,), "clips", (3,), ("y",))
    with pytest.raises(UserError, match="this net cannot be exported to pt2: "):
        export(part, tmp_path / "x.pt2", "pt2", {})


def test_onnx_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "ONNX_NEEDS", ("onnx", "no_such_package"))
    with pytest.raises(UserError, match="pip install .*no_such_package"):
        export(clip_part(net(), 8, 32), tmp_path / "x.onnx", "onnx", {})


@pytest.mark.skipif(not all(map(find_spec, exporting.ONNX_NEEDS)), reason="ONNX is not installed")
def test_onnx_gives_the_tests_scores(tmp_path):
    part = video_part(net(NETS["pathways"]), 8, 64, 3, softmax, "classification")
    assert export(part, tmp_path / "net.onnx", "onnx", {}) < 1e-4
