"""Runs read back from their folders, and what is drawn of them."""

import sys
from pathlib import Path

import cv2
import pytest
from run_folders import write_run

from cmvl.report.curves import plot_clips, plot_curves, plot_errors
from cmvl.report.runs import read_run, read_runs
from cmvl.utils.errors import UserError


def step(epoch, i, **fields):
    return {"kind": "train", "epoch": epoch, "step": i, "steps": 2, **fields}


def drawn(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def test_a_resumed_run_counts_its_later_lines(tmp_path):
    lines = [step(1, 1, loss=4.0), step(1, 2, loss=3.0), step(2, 1, loss=9.0)]
    lines += [step(2, 1, loss=2.0), step(2, 2, loss=None), step(3, 1, loss=1.0)]
    run = read_run(write_run(tmp_path / "a", lines))
    assert run.series("train", "loss") == ([0.5, 1.0, 1.5, 2.5], [4.0, 3.0, 2.0, 1.0])
    assert run.series("val", "top1") == ([], []) and run.accuracy is None


def test_runs_are_called_by_what_tells_them_apart(tmp_path):
    paths = [write_run(tmp_path / seed / "cm") for seed in ("s0", "s1")]
    assert [run.name for run in read_runs(paths)] == ["s0/cm", "s1/cm"]
    assert [run.name for run in read_runs(paths, ["a", "b"])] == ["a", "b"]
    with pytest.raises(UserError, match="1 names for 2 runs"):
        read_runs(paths, ["a"])


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(UserError, match="not a run's OUTPUT_DIR, expected one of config_train"):
        read_run(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"kind": "val", "epoch": 1}\n{"kind": "tra')
    with pytest.raises(UserError, match=r"log.jsonl:2: not a line of a run's log"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "name, content",
    [
        ("log.jsonl", b"[1]"),
        ("log.jsonl", b'{"epoch": 1}'),
        ("log.jsonl", b"\xff\n"),
        ("config_train.yaml", b"A: ["),
        ("config_train.yaml", b"text"),
        ("config_train.yaml", b"\xff"),
        ("results/summary.json", b'{"metrics": {'),
        ("results/summary.json", b"3"),
    ],
)
def test_damaged_files_are_told(name, content, tmp_path):
    (write_run(tmp_path / "a", n=1) / name).write_bytes(content)
    with pytest.raises(UserError, match=f"a/{name}:(1: not a line of a run's log| damaged, )"):
        read_run(tmp_path / "a")


def test_panels_hold_the_numbers_of_the_logs(tmp_path):
    lines = [step(e, i, loss=10 * e + i, lr=0.1) for e in (1, 2) for i in (1, 2)]
    val = {"kind": "val", "epoch": 2, "top1": 60.0}
    runs = read_runs([write_run(tmp_path / "a", [*lines, val]), write_run(tmp_path / "b", lines)])
    figure = plot_curves(runs)
    titles = [axes.get_title() for axes in figure.axes if axes.axison]
    assert titles == ["training loss", "validation top-1 (%)", "learning rate"]
    loss = drawn(figure.axes[0])
    assert loss["a"] == loss["b"] == [[0.5, 11], [1, 12], [1.5, 21], [2, 22]]
    assert drawn(figure.axes[1])["a"] == [[2, 60]]
    with pytest.raises(UserError, match="'train.los'; there are: train.loss, train.lr, val.top1"):
        plot_curves(runs, ["train.los"])


def test_long_logs_are_drawn_by_their_epochs_means(tmp_path):
    lines = [step(e, i, loss=float(e + i)) for e in range(1, 31) for i in (1, 2)]
    axes = plot_curves([read_run(write_run(tmp_path / "a", lines))]).axes[0]
    assert drawn(axes)["a"] == [[e, e + 1.5] for e in range(1, 31)]


def test_figure_5_draws_errors(tmp_path):
    lines = [step(1, 1, error=50.0), step(1, 2, error=30.0)]
    lines += [{"kind": "val", "epoch": 1, "top1": 65.0}]
    axes = plot_errors([read_run(write_run(tmp_path / "a", lines))]).axes[0]
    assert drawn(axes) == {"a, validation": [[1, 35]], "a, training": [[1, 40]]}
    with pytest.raises(UserError, match="no validation with top1"):
        plot_errors([read_run(write_run(tmp_path / "b", lines[:2]))])


def test_figure_3_joins_single_clips_to_every_memory(tmp_path):
    cells = [(1, "NoMemory", 50), (3, "NoMemory", 52), (3, "AssociativeMemory", 60)]
    cells += [(3, "AssociativeMemory", 64)]
    paths = [
        write_run(tmp_path / str(i), n=n, memory=memory, top1=top1)
        for i, (n, memory, top1) in enumerate(cells)
    ]
    axes = plot_clips(read_runs(paths)).axes[0]
    found = {c.get_label(): c.lines[0].get_xydata().tolist() for c in axes.containers}
    assert found == {
        "Slow 8x4, CM": [[1, 50], [3, 62]],
        "Slow 8x4, no memory": [[1, 50], [3, 52]],
    }
    with pytest.raises(UserError, match="no test results"):
        plot_clips([read_run(write_run(tmp_path / "untested", n=1))])


def test_the_tool_writes_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "tools"))
    import plot_log

    run = write_run(tmp_path / "a", [step(1, 1, loss=1.0)])
    out = tmp_path / "new folder" / "curves.png"
    monkeypatch.setattr(sys, "argv", ["plot_log.py", str(run), "--out", str(out)])
    plot_log.main()
    assert capsys.readouterr().out.strip() == str(out)
    assert cv2.imread(str(out)).std() > 5
