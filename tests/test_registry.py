"""Names in a config: what is told of one that nobody registered."""

import pytest

from cmvl.config import load_cfg
from cmvl.model import build_model
from cmvl.tasks import find_task
from cmvl.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("key", "name", "told"),
    [
        (
            "MODEL.BACKBONE",
            "slowfast",
            "'slowfast'; it can be I3D | R2Plus1D | SlowFast | SlowOnly | torchvision/NAME; "
            "did you mean SlowFast?",
        ),
        ("MODEL.BACKBONE", "I3", "did you mean I3D?"),
        ("MODEL.BACKBONE", "X", "torchvision/NAME$"),
        ("MEMORY.INTERACTION", "Asociative", "NoMemory; did you mean AssociativeMemory?"),
        ("MEMORY.INFUSION", "Residual", "'Residual'; it can be .*; did you mean ResidualInfusion?"),
        ("MEMORY.INFUSION", "", "is ''; it can be FeatureGating | ResidualInfusion$"),
    ],
)
def test_unknown_names(key, name, told):
    cfg = load_cfg(None, ["MEMORY.INTERACTION", "AssociativeMemory", key, name])
    with pytest.raises(ConfigError, match=told.replace("|", r"\|").replace("?", r"\?")):
        build_model(cfg, find_task(cfg.TASK).head)
