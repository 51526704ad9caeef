"""torchvision's nets as backbones: same numbers, clipwise norms, pretrained weights."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision import models

from cmvl.backbones import build_backbone
from cmvl.config import get_cfg, load_cfg
from cmvl.engine.optim import build_optimizer
from cmvl.engine.step import build_stepper
from cmvl.model import build_model
from cmvl.structures import VideoBatch
from cmvl.tasks import find_task
from cmvl.utils.errors import ConfigError

from toy import random_clips

RECIPE = Path(__file__).parent.parent / "configs/your_data/SWIN3D_T_CM.yaml"


def cfg_of(name, weights=""):
    cfg = get_cfg()
    cfg.MODEL.BACKBONE = f"torchvision/{name}"
    cfg.TORCHVISION.WEIGHTS = weights
    return cfg


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18", "swin3d_t", "s3d"])
def test_torchvision_maps_lead_to_its_logits(name):
    net = models.get_model(name).eval()
    net.avgpool = nn.AdaptiveAvgPool3d(1)  # s3d's is made for 224 pixels
    backbone = build_backbone(cfg_of(name)).eval()
    missing, unexpected = backbone.net.load_state_dict(net.state_dict(), strict=False)
    head = backbone.family.head
    assert not missing and all(key.startswith(f"{head}.") for key in unexpected)
    with torch.inference_mode():
        x = torch.randn(1, 3, 8, 64, 64)
        (y,) = backbone(x)
        pooled = y.mean((2, 3, 4), keepdim=name == "s3d")
        got = getattr(net, head)(pooled).flatten(1)
        torch.testing.assert_close(got, net(x), rtol=1e-4, atol=1e-4)


def test_mvit_map_is_torchvisions():
    net, seen = models.video.mvit_v2_s().eval(), []
    net.norm.register_forward_hook(lambda _, __, out: seen.append(out))
    backbone = build_backbone(cfg_of("mvit_v2_s")).eval()
    backbone.net.load_state_dict(net.state_dict(), strict=False)
    net.pos_encoding.temporal_size, net.pos_encoding.spatial_size = 2, (24, 24)  # 16, 224 alone
    with torch.inference_mode():
        x = torch.randn(1, 3, 4, 96, 96)
        net(x)
        (y,) = backbone(x)
    assert y.shape == (1, 768, 2, 3, 3)
    torch.testing.assert_close(y.flatten(2).transpose(1, 2), seen[0][:, 1:])


@pytest.mark.parametrize(("key", "least"), [("NUM_FRAMES", 8), ("TRAIN_CROP_SIZE", 17)])
def test_clips_that_are_pooled_to_nothing(key, least):
    cfg = cfg_of("s3d")
    cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE = 8, 17
    backbone = build_backbone(cfg).eval()
    assert backbone.extract(torch.zeros(1, 3, 8, 17, 17))[0].shape == (1, 1024, 1, 1, 1)
    cfg.DATA[key] = least - 1
    with pytest.raises(ConfigError, match=f"{least - 1}.* torchvision/s3d pools .*{least}"):
        build_backbone(cfg)


def test_torchvision_weights(monkeypatch):
    """Loaded by torchvision's name, with their own mean and deviation; here without download."""
    state = {key: t.clone() for key, t in models.get_model("r3d_18").state_dict().items()}
    asked = []
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url",
        lambda url, **_: asked.append(url) or state,
    )
    cfg = cfg_of("r3d_18", "DEFAULT")
    backbone = build_backbone(cfg)
    assert len(asked) == 1 and "r3d_18" in asked[0]
    assert torch.equal(backbone.net.layer4[0].conv1[0].weight, state["layer4.0.conv1.0.weight"])
    assert backbone.mean.flatten().tolist() == pytest.approx([0.43216, 0.394666, 0.37645])
    cfg.TRAIN.ENABLE = False  # a checkpoint's weights are to come, for which mean and std stay
    assert torch.equal(build_backbone(cfg).mean, backbone.mean) and len(asked) == 1
    cfg.TORCHVISION.WEIGHTS = "IMAGENET"
    with pytest.raises(ConfigError, match="'IMAGENET'; r3d_18 has KINETICS400_V1"):
        build_backbone(cfg)


def test_without_network_the_file_to_fetch_is_told(monkeypatch, tmp_path):
    def fail(url, **_):
        raise URLError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=f"r3d_18-.*pth cannot be fetched.*{tmp_path}/hub/check"):
        build_backbone(cfg_of("r3d_18", "DEFAULT"))


def test_torchvision_norms_keep_their_numbers():
    net = models.get_model("s3d")
    backbone = build_backbone(cfg_of("s3d"))
    eps = [m.eps for m in net.modules() if isinstance(m, nn.BatchNorm3d)]
    assert [m.eps for m in backbone.modules() if isinstance(m, nn.BatchNorm3d)] == eps
    assert list(backbone.net.state_dict()) == [
        key for key in net.state_dict() if not key.startswith("classifier.")
    ]


def test_a_transformer_learns_with_the_memory():
    """By the recipe, at a size that ends soon; every parameter moves."""
    opts = "NUM_GPUS 0 MODEL.NUM_CLASSES 2 MODEL.DROPOUT_RATE 0.0 VIDEO.NUM_CLIPS 2".split()
    cfg = load_cfg(RECIPE, [*opts, "TORCHVISION.WEIGHTS", ""])
    torch.manual_seed(0)
    task, device = find_task(cfg.TASK), torch.device("cpu")
    model = build_model(cfg, task.head).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step = build_stepper(cfg, model, build_optimizer(cfg, model), task.loss(cfg), device)
    clips = random_clips(2, 2, 3, 8, 32, 32)
    clips[1] //= 4  # a dark video and a bright one
    batch = VideoBatch(clips, torch.tensor([0, 1]), torch.arange(2))
    losses = [float(step([batch], 0.001)["loss"]) for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert not still
