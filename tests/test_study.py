"""The study: one cell in miniature, what is run again and what not, the page from the results."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import simplejson

from cmvl.report.ledger import read_ledger
from cmvl.report.marks import MARK, fill
from cmvl.report.study import Cell, read_results, read_study
from cmvl.report.study_figures import DESIGNS, plot_designs
from cmvl.report.study_page import listing, render
from cmvl.report.study_run import Job, jobs, load_job, run_study, write_sets
from cmvl.utils.errors import ConfigError, UserError

ROOT = Path(__file__).parent.parent
STUDY = read_study(ROOT / "configs" / "study.yaml", read_ledger(ROOT / "configs" / "paper.yaml"))
PAGE = ROOT / "docs" / "study.md"
SHORT = (
    "SOLVER.MAX_EPOCH 2 SOLVER.WARMUP_EPOCHS 0 TEST.NUM_ENSEMBLE_VIEWS 2 TRAIN.EVAL_VIEWS 1 "
    "TRAIN.EVAL_PERIOD 1 TRAIN.BATCH_SIZE 10"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of a few videos in which a cell and its start have run."""
    out = tmp_path_factory.mktemp("study")
    few = {"preset": "cue", "train": 10, "val": 2, "test": 4, "workers": 1}
    write_sets(replace(STUDY, sets={"all": few}), [STUDY.cells["cm"]], out)
    wanted = [job for job in jobs(STUDY, STUDY.select(["2a"]), [0])]
    wanted = [job for job in wanted if job.cell.name in ("paints", "cm")]
    said = []
    run_study(STUDY, wanted, out, out / "results.jsonl", SHORT, said.append)
    assert said[0] == "0 of 2 runs are done, 2 left" and said[2].startswith("[2/2] cm, seed 0: ")
    return out


def test_a_cell_in_miniature(folder):
    paints, cm = read_results(folder / "results.jsonl")
    assert (paints["cell"], paints["seed"], cm["cell"]) == ("paints", 0, "cm")
    assert cm["videos"] == 4 and cm["top1"] in (0, 25, 50, 75, 100)
    assert len(cm["by_position"]) == 2 and cm["loss"] > 0
    assert [epoch for epoch, _ in cm["val"]] == [1, 2] and len(cm["train"]) == 2
    cfg = load_job(STUDY, Job(STUDY.cells["cm"], 0), folder)
    assert "seed0/paints/checkpoints" in cfg.TRAIN.INIT_FROM and cfg.VIDEO.NUM_CLIPS == 5


def test_what_is_done_is_not_run_again(folder, tmp_path, monkeypatch):
    ran = []

    def run(study, job, out, opts):
        ran.append(job.cell.name)
        return {"cell": job.cell.name, "seed": job.seed, "top1": 1.0, "cpu": 1.0, "seconds": 60.0}

    monkeypatch.setattr("cmvl.report.study_run.run_job", run)
    results = tmp_path / "results.jsonl"
    results.write_text((folder / "results.jsonl").read_text())
    wanted = [Job(STUDY.cells[name], 0) for name in ("paints", "cm", "avgpool", "frozen")]
    said = []
    run_study(STUDY, wanted, folder, results, (), said.append)
    assert ran == ["avgpool", "frozen"] and said[0] == "2 of 4 runs are done, 2 left"
    assert said[1] == "[1/2] avgpool, seed 0: 1.0%, 1 CPU s; about 1 min left"
    wanted.append(Job(STUDY.cells["residual"], 0))
    run_study(STUDY, wanted, tmp_path / "elsewhere", results, (), said.append)
    assert ran[2:] == ["paints", "residual"]  # the start's weights are not there
    names = [line["cell"] for line in read_results(results)]
    assert names == ["paints", "cm", "avgpool", "frozen", "residual"]


def test_cells_come_after_their_starts():
    cells = STUDY.cells_of(STUDY.select([]))
    assert {cell.name for cell in cells} == set(STUDY.cells)  # and each serves a table
    known = {""}
    for cell in cells:
        assert cell.start in known
        known.add(cell.name)


@pytest.mark.parametrize("cell", STUDY.cells.values(), ids=lambda c: c.name)
def test_every_cell_trains_as_the_others(cell):
    """Its config loads; 16 videos a step, or a pair; one learning rate a clip in every table."""
    cfg = load_job(STUDY, Job(Cell(cell.name, cell.config, cell.opts, start=""), 0), Path())
    clips = 1 if cfg.VIDEO.STRATEGY == "multi_iteration" else cfg.VIDEO.NUM_CLIPS
    videos = 2 if cell.name.startswith("pairs_") else 16
    assert cfg.TRAIN.BATCH_SIZE == videos * clips
    if cell.start:  # stage one is each net's own
        rate = 0.1 if cell.data == "alike/relation" and cfg.MODEL.FREEZE_BACKBONE else 0.04
        assert cfg.SOLVER.BASE_LR / clips == pytest.approx(rate * videos / 16)


def line(cell, seed, top1):
    return {"cell": cell, "seed": seed, "top1": top1, "clip_top1": 40.0}


def test_table():
    (table,) = STUDY.select(["2b"])
    table = replace(table, seeds=(0, 1, 2))
    text = render(table, [line("cm", 2, 60.0), line("cm", 0, 64.0), line("avgpool", 0, 50.0)])
    assert "| CM (default): both | 76.8 | 62.0 ± 2.8 | 40.0 | 64.0, –, 60.0 |" in text
    assert "| CM (avgpool): gating | 75.8 | 50.0 | 40.0 | 50.0, –, – |" in text
    assert "| multi-clip, no memory | 75.5 | not run |  |  |" in text
    assert "paper" not in render(STUDY.tables["norm"], [])


def test_tables_keep_to_their_seeds():
    """In what is run, unless seeds are given, and in what is shown."""
    first = replace(STUDY.tables["2e"], seeds=(0, 1))
    tables = [first, replace(STUDY.tables["2c"], seeds=(1, 2))]
    wanted = {(job.cell.name, job.seed) for job in jobs(STUDY, tables)}
    assert {seed for name, seed in wanted if name == "multi_iteration"} == {0, 1}
    assert {seed for name, seed in wanted if name == "r4"} == {1, 2}
    assert {seed for name, seed in wanted if name == "cm"} == {0, 1, 2}
    assert {job.seed for job in jobs(STUDY, tables, [9])} == {9}
    results = [line("cm", 2, 70.0), line("cm", 1, 80.0), line("cm", 0, 90.0)]
    assert "| 85.0 ± 7.1 | 40.0 | 90.0, 80.0 |" in render(first, results)


def test_marks_are_filled():
    page = "a\n<!-- table 2b -->\nold\n<!-- end -->\nz <!-- table 2c -->\n<!-- end -->\n"
    text = fill(page, lambda key: f"new {key}")
    assert text == page.replace("old", "new 2b").replace("2c -->\n", "2c -->\nnew 2c\n")
    assert fill(text, lambda key: f"new {key}") == text


def test_the_page_shows_the_results():
    """Every table of docs/study.md is that of the results beside it, and every cell is there."""
    results = read_results(PAGE.with_suffix("") / "results.jsonl")
    text = PAGE.read_text()
    assert fill(text, lambda key: render(STUDY.tables[key], results)) == text
    assert sorted(key for _, key, _ in MARK.findall(text)) == sorted(STUDY.tables)


def test_figure_5_has_a_panel_for_each_number_of_videos():
    """Lines are means over seeds, bands reach from the least to the largest seed."""
    cells = [cell for _, panel in DESIGNS.values() for cell in panel]
    seeds = [
        {"seed": 0, "train": [[0.5, 30], [1, 50]], "val": [[1, 60]]},
        {"seed": 1, "train": [[1, 20]], "val": [[1, 80]]},
        {"seed": 9, "train": [[1, 0]], "val": [[1, 0]]},  # not the table's
    ]
    axes = plot_designs(STUDY, [{"cell": c, **s} for c in cells for s in seeds]).axes
    assert [len(a.lines) for a in axes] == [4, 4]
    for line in axes[1].lines:
        (mean,) = line.get_ydata()
        assert mean == (30 if "training" in line.get_label() else 70)
    band = axes[1].collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (60, 80)


def test_listing_counts_what_is_done():
    tables = STUDY.select(["2e"])
    wanted = jobs(STUDY, tables, [0, 1])
    text = listing(tables, wanted, [line("cm", 1, 60.0)])
    assert re.search(r"batch reduction +cm +1 of 2$", text, re.M)
    assert text.endswith("1 of 8 runs are done")


def test_the_last_line_of_a_run_counts(tmp_path):
    file = tmp_path / "results.jsonl"
    lines = [line("cm", 0, 50.0), line("cm", 1, 55.0), line("cm", 0, 60.0)]
    file.write_text("".join(simplejson.dumps(each) + "\n" for each in lines))
    assert [(r["seed"], r["top1"]) for r in read_results(file)] == [(0, 60.0), (1, 55.0)]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no table '9'; the study has 2a, 2b"):
        STUDY.select(["9"])
    file = tmp_path / "results.jsonl"
    file.write_text('{"cell": "cm", "seed": 0}\n{"cell"\n')
    with pytest.raises(UserError, match=r"results.jsonl:2: not a line of results"):
        read_results(file)
