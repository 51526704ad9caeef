"""AVA's benchmark compares what is equal; its times are nobody's claim here."""

import pytest
from test_configs import FOLDER

from cmvl.benchmarks.ava import evaluator_seconds, window_rates


def test_both_windows_give_the_same_scores():
    opts = ["DATA.TEST_CROP_SIZE", "32", "MODEL.FC_INIT_STD", "1.0"]
    rates = window_rates(FOLDER / "demo/AVA_CM.yaml", opts, keyframes=12)
    assert rates["difference"] < 1e-5


def test_both_evaluators_find_the_same(monkeypatch):
    """`evaluator_seconds` itself holds them against each other."""
    evaluator_seconds(3000)
    monkeypatch.setattr("cmvl.benchmarks.ava._plain_matches", lambda *_: 0)
    with pytest.raises(AssertionError):
        evaluator_seconds(3000)
