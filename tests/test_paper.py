"""The ledger against the paper's text, the counted costs, and what tools/paper.py prints."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from cmvl.config import load_cfg
from cmvl.report.flops import Cost, count
from cmvl.report.ledger import read_ledger
from cmvl.report.paper import commands, measure, reached, render, results
from cmvl.utils.errors import ConfigError, UserError

ROOT = Path(__file__).parent.parent
LEDGER = read_ledger(ROOT / "configs" / "paper.yaml")
REFERENCE = ROOT / "tests" / "data" / "models"
TABLES = list(LEDGER.tables.values())


@cache
def cost(config, *overrides):
    return count(LEDGER.cfg(config, overrides))


# --- counting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model_id", ["SLOWFAST_8x8_R50", "SLOWFAST_NLN_8x8_R50", "I3D_NLN_8x8_R50"]
)
def test_backbones_are_counted_as_published(model_id):
    """Convolutions and products of PySlowFast's nets, counted there with fvcore."""
    reference = json.loads((REFERENCE / f"{model_id}.json").read_text())
    keys = reference["config"]
    opts = [
        *("MODEL.BACKBONE", "SlowFast" if "SLOWFAST" in model_id else "I3D"),
        *("DATA.NUM_FRAMES", str(keys["DATA"]["NUM_FRAMES"])),
        *("NONLOCAL.LOCATION", str(keys["NONLOCAL"]["LOCATION"])),
        *("NONLOCAL.INSTANTIATION", keys["NONLOCAL"]["INSTANTIATION"]),
        *("SLOWFAST.FUSION_KERNEL_SZ", str(keys.get("SLOWFAST", {}).get("FUSION_KERNEL_SZ", 5))),
    ]
    published = reference["gflops"]["256"]
    backbone = published["without_batch_norm"] - published["by_operator"]["linear"]
    assert count(load_cfg(None, opts)).backbone / 1e9 == pytest.approx(backbone, rel=1e-9)


def test_memory_is_counted_by_hand():
    """Slow-only 8x8: k = 8 x 8 x 8 positions, d = 2048, d' = 512 in Eq. 2 to 4, one clip."""
    k, d, d_mem = 512, 2048, 512
    push = 2 * k * d * d_mem + k * d_mem * d_mem
    pop = k * d * d_mem + k * d_mem * d_mem
    gate = d_mem * d
    slow = cost("K400/SLOW_8x8_CM")
    assert slow.memory == push + pop + gate
    assert slow.head == d * 400
    assert slow.ratio == pytest.approx(1 + slow.memory / (slow.backbone + slow.head))
    assert slow.flops == pytest.approx(2 * (slow.backbone + slow.memory + slow.head))


@pytest.mark.parametrize(
    ("config", "gflops", "with_memory"),
    [
        ("K700/SLOWFAST_4x16", 36, 37),
        ("K700/SLOWFAST_8x8_R101", 126, 128),
        ("K700/SLOWFAST_8x8_R101_NL", 135, 137),
        ("CHARADES/SLOWFAST_16x8", 131, 135),
        ("CHARADES/SLOWFAST_16x8_R101_NL", 273, 277),
        ("K400/R2PLUS1D_32x2_R101", None, 243),
    ],
)
def test_gflops_of_tables_3_to_5(config, gflops, with_memory):
    if gflops:
        assert round(cost(config).gflops) == gflops
    assert round(cost(f"{config}_CM").gflops) == with_memory


@pytest.mark.parametrize(
    ("config", "printed"),
    [
        ("K400/SLOW_8x8_CM", 1.03),
        ("K400/I3D_32x2_NL_CM", 1.02),
        ("K400/R2PLUS1D_16x2_CM", 1.01),
        ("K400/SLOWFAST_8x8_CM", 1.03),
    ],
)
def test_flops_ratios_of_table_1(config, printed):
    assert round(cost(config).ratio, 2) == printed


def test_the_ratio_that_is_not_reached():
    """Table 1 prints 1.02 for SlowFast-50 4x16; neither reading of Sec. 4.1 gives it."""
    each, slow = (
        cost("K400/SLOWFAST_4x16_CM"),
        cost("K400/SLOWFAST_4x16_CM", "MEMORY.PATHWAYS", "slow"),
    )
    assert each.ratio == pytest.approx(1.0293, abs=1e-4)
    assert slow.ratio == pytest.approx(1.0261, abs=1e-4)


# --- the ledger ------------------------------------------------------------------------------


def test_a_number_that_is_not_reached_has_a_note():
    """Counted anew for every row that prints a cost; and no note excuses what is reached."""
    for table in TABLES:
        for row in table.rows:
            printed = {k: getattr(row, k) for k in ("gflops", "params", "ratio")}
            printed = {k: v for k, v in printed.items() if v is not None}
            if row.config and printed:
                counted = cost(row.config, *row.overrides)
                missed = [k for k, v in printed.items() if not reached(v, getattr(counted, k))]
                assert bool(missed) == bool(row.note), f"{table.key}, {row.name}: {missed}"


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.key)
def test_rows_are_well_formed(table):
    for row in table.rows:
        assert row.config or row.by, f"{row.name}: neither a config nor a source"
        assert not (row.overrides and row.ours), "a run of its own deserves a file"
        if row.config:
            cfg = LEDGER.cfg(row.config, row.overrides)
            metric = {"multi_label": "mAP", "detection": "mAP"}.get(cfg.TASK, "top1")
            assert table.metric in (metric, "by_position")
    assert len({(row.name, row.by) for row in table.rows}) == len(table.rows)


def test_headers_give_the_ledgers_numbers():
    """The paper's accuracy in a config's header is that of the row."""
    for table in TABLES:
        for row in table.rows:
            if row.ours and row.paper is not None and table.key != "fig5":
                text = (ROOT / "configs" / f"{row.config}.yaml").read_text()
                assert re.search(rf"Paper: {row.paper} (top-1|mAP)", text), (table.key, row.name)


def test_all_tables_are_there():
    assert [t.key for t in TABLES] == [
        *("1", "2a", "2b", "2c", "2d", "2e", "2f", "3", "4", "5", "6", "7a", "7b"),
        *("fig3", "fig4", "fig5"),
    ]


# --- commands, results, print ----------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.key)
def test_commands_run_in_order(table):
    """Every config is there, and weights are explained or made before they are needed."""
    there = set()
    lines = commands(LEDGER, table, Path("output")).splitlines()
    for line in lines:
        if made := re.search(r"cp -n \S+ (weights/\S+)$", line):
            there.add(made[1])
        elif run := re.match(r"python tools/run_net.py --cfg configs/(\S+).yaml ", line):
            start = LEDGER.cfg(run[1]).TRAIN.INIT_FROM
            assert not start or start in there
    runs = [line for line in lines if line.startswith("python")]
    assert len(runs) == len([row for row in table.rows if row.ours])


def test_commands_say_where_weights_come_from():
    text = commands(LEDGER, LEDGER.tables["2c"], Path("runs"))
    assert "# weights/SLOW_8x8_R50.pyth: from PySlowFast's model zoo, or made by" in text
    last = "runs/K400/SLOW_8x8/checkpoints/checkpoint_epoch_00196.pyth"
    assert f"#   mkdir -p weights && cp -n {last} weights/SLOW_8x8_R50.pyth" in text
    assert (
        "python tools/run_net.py --cfg configs/ablations/table2c_r8.yaml DATA.PATH_TO_DATA_DIR "
        "/data/k400 OUTPUT_DIR runs/ablations/table2c_r8" in text
    )


def finished(folder, config, metrics, by_position=()):
    path = folder / config / "results"
    path.mkdir(parents=True)
    summary = {"weights": "w", "metrics": metrics, "by_position": list(by_position)}
    (path / "summary.json").write_text(json.dumps(summary))


def test_results_are_gathered(tmp_path):
    finished(tmp_path, "K400/SLOW_8x8_CM", {"top1": 76.54}, [70.04, 75.0])
    finished(tmp_path, "CHARADES/SLOWFAST_16x8", {"mAP": 39.0})
    finished(tmp_path, "K400/SLOWFAST_8x8_R101", {"top1": 1.0})  # not the quoted row's net
    gathered = {t.key: list(results(t, tmp_path).values()) for t in TABLES}
    assert all(gathered[key] == ["76.5"] for key in ("1", "2a", "2b", "2c", "2d", "2e", "2f"))
    assert gathered["5"] == ["39.0"] and gathered["fig4"] == ["70.0 75.0"]
    assert gathered["3"] == gathered["6"] == []
    text = render(LEDGER.tables["2c"], results(LEDGER.tables["2c"], tmp_path))
    assert re.search(r"d / d' = 4 +76\.8 +76\.5$", text, re.M)
    assert re.search(r"d / d' = 8 +76\.4 +not run$", text, re.M)
    (tmp_path / "CHARADES/SLOWFAST_16x8/results/summary.json").write_text("{")
    with pytest.raises(UserError, match="16x8/results/summary.json: damaged"):
        results(LEDGER.tables["5"], tmp_path)


def test_printed_table():
    table = LEDGER.tables["1"]
    rows = {row: Cost(35_000_000, 1000, 29, 0) for row in table.rows}
    text = render(table, {}, rows)
    assert re.search(
        r"SlowFast-50 4x16 \+ CM +77\.8 +not run +0\.0 +35\.00 +1\.02 +1\.029≠$", text, re.M
    )
    assert re.search(
        r"SlowFast-50 8x8 \+ CM +78\.9 +not run +0\.0 +35\.00 +1\.03 +1\.029$", text, re.M
    )
    assert "the arithmetic does not give 1.02" in text
    assert max(map(len, text.splitlines()[:-3])) <= 100


def test_measure_counts_a_run_once(monkeypatch):
    counted = []
    monkeypatch.setattr(
        "cmvl.report.paper.count", lambda cfg: counted.append(1) or Cost(1, 1, 1, 1)
    )
    known = {}
    for key in ("2d", "2e"):
        measure(LEDGER, LEDGER.tables[key], known)
    assert len(counted) == len(known) == 6


def test_unknown_table():
    with pytest.raises(ConfigError, match="no table '9'; the ledger has 1, 2a"):
        list(LEDGER.select(["9"]))


def test_tool():
    """As a user runs it, on one table."""
    run = subprocess.run(
        [sys.executable, "tools/paper.py", "--table", "2c", "--measure"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr
    for params in ("49.2  49.24", "40.9  40.85", "36.7  36.66", "34.6  34.56"):
        assert params in run.stdout
