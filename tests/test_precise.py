"""Re-estimated running statistics: of which clips. Over processes: test_distributed.py."""

import sys
from types import SimpleNamespace

import pytest
import torch

from cmvl.engine.precise import precise_bn
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
