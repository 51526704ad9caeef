"""The arithmetic of docs/scaling.md by hand, and the page against it."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from cmvl.report.activations import IN_BFLOAT16, activations
from cmvl.report.ledger import read_ledger
from cmvl.report.machine import Machine
from cmvl.report.marks import MARK, fill
from cmvl.report.scaling import Scaling, memory_table
from cmvl.report.traffic import measure

ROOT = Path(__file__).parent.parent
LEDGER = read_ledger(ROOT / "configs" / "paper.yaml")
PAGE = ROOT / "docs" / "scaling.md"
SCALING = Scaling(LEDGER)
CM = str(ROOT / "configs" / "K400" / "SLOW_8x8_CM.yaml")


def test_slow_only_by_hand():
    """54.5 GFLOPs (multiply-adds) at 256 are three quarters at 224; sizes of ResNet-50 and CM."""
    net = measure(LEDGER.cfg("K400/SLOW_8x8_CM"))
    assert net.N == 5 and net.test == pytest.approx(net.train / 3 * (256 / 224) ** 2)
    assert net.train / 6e9 == pytest.approx(1.03 * 54.5 * (224 / 256) ** 2, rel=0.02)
    assert net.parameters == net.learning == pytest.approx(36.66e6, rel=1e-3)
    said = net.statistics  # 53 norms of ResNet-50 with 26,560 channels, and W_O's
    assert said.gathers == said.reduces == 54
    assert said.gathered == said.reduced == 2 * 5 * (26_560 + 2048)


def test_multi_iteration_recomputes():
    once = measure(LEDGER.cfg("K400/SLOW_8x8_CM"))
    twice = measure(LEDGER.cfg("ablations/table2e_slow_multiiteration"))
    assert twice.train == pytest.approx(once.train * 3.8 / 3) and twice.test == once.test


def cells(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_data_by_hand():
    """Clips by a GPU's speed; a video has five in stage two, which cost what five cost."""
    machine = Machine(tflops=500, used=0.4, video=0.1, single=0.03, size=2)
    for name, N, clips, videos, prepared, _, read in cells(Scaling(LEDGER, machine).data()):
        exact = 200e12 / measure(LEDGER.cfg(name)).train
        assert float(clips) == pytest.approx(exact, abs=0.5)
        assert float(videos) == pytest.approx(exact / (5 if name.endswith("CM") else 1), abs=0.5)
        assert int(N) == (5 if name.endswith("CM") else 1)
        seconds = 0.1 if N == "5" else 0.03
        assert float(prepared) == pytest.approx(float(videos) * seconds, abs=0.1)
        assert float(read) == pytest.approx(2 * float(videos), abs=1.1)


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
    hours = sum(98 * 234_643 * 5 * net.train / (989e12 * 0.08) / 3600 for net in nets)
    assert row[1] == "3" and float(row[2]) == pytest.approx(hours, abs=0.5)


@pytest.fixture
def tool(monkeypatch, capsys):
    def tool(*words):
        monkeypatch.setattr(sys, "argv", ["scaling.py", *words])
        runpy.run_path(str(ROOT / "tools" / "scaling.py"), run_name="__main__")
        return capsys.readouterr().out

    return tool


def test_tables_of_a_config(tool):
    """On stdout, the page stays; every assumption moves its column."""
    page = PAGE.read_text()
    words = ["--cfg", CM, "--machines", "1", "--within", "30", "--opts", "VIDEO.NUM_CLIPS", "1"]
    loader = ["--used", "0.25", "--single", "0.02", "--raw-single", "0.06"]
    data, traffic, memory = (cells(t)[0] for t in tool(*words, *loader).strip().split("\n\n"))
    assert memory[:2] == [CM, "8 x 1"]  # N = 1 of a budget of 64
    assert data[0] == traffic[0] == CM and data[1] == "1" and traffic[1] == "8"
    more = ["--used", "0.5", "--single", "0.04", "--raw-single", "0.03", "--latency", "1e-4"]
    words += [*more, "--within", "60", "--size", "0.53"]
    data2, traffic2, memory2 = (cells(t)[0] for t in tool(*words).strip().split("\n\n"))
    # Twice as fast: twice the videos; cores by their CPU seconds as well, bytes by the size.
    moved = [float(b) / float(a) for a, b in zip(data[2:], data2[2:], strict=True)]
    assert moved == pytest.approx([2, 2, 4, 1, 1], rel=0.01)
    # Computing and gradients halve; waits for norms double.
    moved = [float(b) / float(a) for a, b in zip(traffic[3:6], traffic2[3:6], strict=True)]
    assert moved == pytest.approx([0.5, 0.5, 2], rel=0.03)
    assert memory2 == memory
    assert PAGE.read_text() == page


def test_a_page_of_ones_own(tool, tmp_path):
    page = tmp_path / "mine.md"
    page.write_text("<!-- table assumptions -->\n<!-- end -->\n<!-- table disk -->\n<!-- end -->\n")
    assert str(page) in tool("--page", str(page), "--size", "2.12", "--farther", "5")
    rows = {row[0]: row[-1] for row in cells(page.read_text()) if len(row) > 2}
    assert rows["`--farther`"] == "5" and rows["`--size`"] == "2.12" and rows["`--used`"] == "0.08"
    assert rows["K400"] == f"{254_404 * 2.12 / 1024:.0f}"


def test_memory_by_hand():
    """2 videos of 5 clips; weights, their gradients and momentum."""
    net = measure(LEDGER.cfg("K400/SLOW_8x8_CM"))
    (row,) = cells(memory_table({"cm": net}))
    clip = activations(net.cfg) / 2**20
    assert row[:3] == ["cm", "2 x 5", f"{clip:.0f}"]
    assert float(row[3]) == pytest.approx(10 * clip / 1024, abs=0.06)
    assert float(row[4]) == pytest.approx(5.2 * clip / 1024, abs=0.06)
    assert float(row[5]) == pytest.approx(3 * 4 * 36.66e6 / 2**30, abs=0.06)


@pytest.mark.parametrize(("config", "place"), [("SLOWFAST_8x8", 0), ("SLOW_8x8", 1)])
def test_memory_is_what_a_gpu_took(config, place):
    """40 clips and the gradients, of the nets without memory, in MiB of docs/benchmarks.md."""
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    net = measure(LEDGER.cfg(f"K400/{config}"))
    clips, gradients = 40 * activations(net.cfg) / 2**20, 4 * net.parameters / 2**20
    for way, share, rel in (("tf32", 1, 1e-3), ("bfloat16", IN_BFLOAT16, 0.025)):
        row = re.findall(rf"^\| {way} no memory \|.*$", text, re.M)[place]
        took = int(row.split("|")[-2])
        assert share * clips + gradients == pytest.approx(took, rel=rel), way
    assert f"{clips + gradients:,.0f}" in PAGE.read_text()


def test_the_loaders_times_are_those_of_the_benchmarks():
    text = (ROOT / "docs" / "benchmarks.md").read_text()

    def ours(clips, file):
        row = re.search(rf"^\| training, N={clips} \| 340x256 \| {file} \|.*$", text, re.M)[0]
        return [cell.strip() for cell in row.split("|")][8]

    machine = Machine()
    for seconds, clips, file in (
        (machine.video, 5, "prepared"),
        (machine.single, 1, "prepared"),
        (machine.raw_video, 5, "GOP 250"),
        (machine.raw_single, 1, "GOP 250"),
    ):
        assert f"{1000 * seconds:.0f}" == ours(clips, file)
    assert f"| 340x256 | prepared | {machine.size:g} |" in text


def test_the_share_of_peak_is_that_of_the_benchmarks():
    """Of a compiled SlowFast; FLOPs of a clip are those of the row that is not compiled."""
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    row = re.search(r"^\| \*\*bfloat16\+channels_last memory\*\* \|.*$", text, re.M)[0]
    rate, tflops = (float(cell.strip(" *")) for cell in row.split("|")[4:6])
    compiled = float(re.search(r"with memory: (\d+) clips/s against", text)[1])
    machine = Machine()
    assert round(compiled * tflops / rate / machine.tflops, 2) == machine.used


def test_the_page_shows_the_arithmetic():
    text = PAGE.read_text()
    keys = [key for _, key, _ in MARK.findall(text)]
    assert sorted(keys) == ["assumptions", "data", "disk", "files", "memory", "time", "traffic"]
    quick = {key: SCALING.table(key) for key in keys if key != "time"}
    for table in ("2a", "fig5"):  # all of them take a minute
        assert "| " + " | ".join(SCALING.time_of(LEDGER.tables[table])) + " |" in text
    time = text.partition("<!-- table time -->\n")[2].partition("\n<!-- end -->")[0]
    assert fill(text, lambda key: quick.get(key, time)) == text
