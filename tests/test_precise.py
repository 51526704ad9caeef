"""Re-estimated running statistics: of which clips. Over processes: test_distributed.py."""

import sys
from types import SimpleNamespace

import pytest
import torch

from cmvl.engine.precise import precise_bn
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d
from cmvl.structures import VideoBatch

from toy import toy_model


class Loader(list):
    sampler = SimpleNamespace(set_epoch=lambda epoch: None)


@pytest.mark.filterwarnings("error::FutureWarning")
def test_fvcores_warnings_are_not_the_users(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fvcore.nn")]:
        monkeypatch.delitem(sys.modules, name)
    precise_bn(toy_model(), Loader(), 0, 4, torch.device("cpu"))


def test_every_place_of_a_video_has_its_turn():
    """Clip n of these is n all over; of stratified ones the first would be all beginnings."""
    clips = torch.arange(3, dtype=torch.uint8).view(1, 3, 1, 1, 1, 1).expand(2, 3, 3, 4, 16, 16)
    loader = Loader([VideoBatch(clips, torch.zeros(2), torch.arange(2))] * 5)
    model, seen = toy_model(), []
    model.backbone.register_forward_pre_hook(lambda f, inputs: seen.append(inputs[0].unique()))
    said = precise_bn(model, loader, 0, 4, torch.device("cpu"))
    assert [values.tolist() for values in seen] == [[0], [1], [2], [0]]
    assert said == "precise batch norm: 4 batches (BN.NUM_BATCHES_PRECISE 4)"


def test_statistics_are_those_of_the_batches():
    """Of one distribution: the variance counts how the batches' means differ."""
    epochs, generator = [], torch.Generator().manual_seed(0)
    batches = []
    for scale in (60, 120, 250):
        clips = torch.randint(scale, (3, 2, 3, 4, 16, 16), generator=generator).to(torch.uint8)
        batches.append(VideoBatch(clips, torch.zeros(3), torch.arange(3)))
    loader, model = Loader(batches), toy_model().eval()
    loader.sampler = SimpleNamespace(set_epoch=epochs.append)
    norm = next(m for m in model.backbone.modules() if isinstance(m, ClipwiseBatchNorm3d))
    maps = []
    norm.register_forward_pre_hook(lambda module, inputs: maps.append(inputs[0].transpose(0, 1)))
    precise_bn(model, loader, 7, 200, torch.device("cpu"))
    means = torch.stack([x.flatten(1).mean(1) for x in maps])
    variances = torch.stack([x.flatten(1).var(1, correction=0) for x in maps])
    mean = means.mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    variance = (variances + means.square()).mean(0) - mean.square()
    torch.testing.assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-5)
    assert len(maps) == 3 and epochs == [7] and means.std() > 0.1
