"""The arithmetic of docs/scaling.md by hand, and the page against it."""

from pathlib import Path

import pytest

from cmvl.report.ledger import read_ledger
from cmvl.report.marks import MARK, fill
from cmvl.report.scaling import Machine, Scaling, measure

ROOT = Path(__file__).parent.parent
LEDGER = read_ledger(ROOT / "configs" / "paper.yaml")
PAGE = ROOT / "docs" / "scaling.md"
SCALING = Scaling(LEDGER)


def test_slow_only_by_hand():
    """54.5 GFLOPs (multiply-adds) at 256 are three quarters at 224; sizes of ResNet-50 and CM."""
    net = measure(LEDGER.cfg("K400/SLOW_8x8_CM"))
    assert net.N == 5 and net.test == pytest.approx(net.train / 3 * (256 / 224) ** 2)
    assert net.train / 6e9 == pytest.approx(1.03 * 54.5 * (224 / 256) ** 2, rel=0.02)
    assert net.parameters == pytest.approx(36.66e6, rel=1e-3)
    assert net.norms == 54 and net.channels == 26_560 + 2048  # those of ResNet-50, and W_O's


def test_multi_iteration_recomputes():
    once = measure(LEDGER.cfg("K400/SLOW_8x8_CM"))
    twice = measure(LEDGER.cfg("ablations/table2e_slow_multiiteration"))
    assert twice.train == pytest.approx(once.train * 4 / 3) and twice.test == once.test


def test_data_by_hand():
    """Twice the speed asks for twice the cores."""
    slow, fast = (Scaling(LEDGER, Machine(used=used), SCALING.known).data() for used in (0.2, 0.4))
    for one, two in zip(slow.splitlines()[2:], fast.splitlines()[2:], strict=True):
        one, two = (float(line.split("|")[5].strip(" ≤")) for line in (one, two))
        assert two == pytest.approx(2 * one, abs=0.11)


def test_hours_by_hand():
    """Figure 5 has three runs of 98 epochs of 5 clips; stage one is in PySlowFast's zoo."""
    row = SCALING.time_of(LEDGER.tables["fig5"])
    nets = [
        measure(LEDGER.cfg(config))
        for config in (
            "ablations/table2a_nomemory",
            "ablations/table2b_residual",
            "K400/SLOW_8x8_CM",
        )
    ]
    hours = sum(98 * 234_643 * 5 * net.train / (989e12 * 0.25) / 3600 for net in nets)
    assert row[1] == "3" and float(row[2]) == pytest.approx(hours, abs=0.5)


def test_the_page_shows_the_arithmetic():
    text = PAGE.read_text()
    keys = [key for _, key, _ in MARK.findall(text)]
    assert sorted(keys) == ["data", "disk", "files", "time", "traffic"]
    quick = {key: SCALING.table(key) for key in keys if key != "time"}
    for table in ("2a", "fig5"):  # all of them take a minute
        assert "| " + " | ".join(SCALING.time_of(LEDGER.tables[table])) + " |" in text
    time = text.partition("<!-- table time -->\n")[2].partition("\n<!-- end -->")[0]
    assert fill(text, lambda key: quick.get(key, time)) == text
