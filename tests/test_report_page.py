"""The page on runs: what it says, that everything lies inside it, and that a browser shows it."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest
from browser import assert_loads, needs_browser
from run_folders import write_run

from cmvl.report import outcome
from cmvl.report.origin import DEFAULTS, base_of, commands, differences
from cmvl.report.page import gain, page, paragraph, table
from cmvl.report.run_page import report
from cmvl.report.runs import RunFolder, read_run, read_runs
from cmvl.utils.errors import UserError

from video_files import write_frames, write_video

ROOT = Path(__file__).parent.parent
CLASSES = ["jump & run", "<b>sit</b>", "stand"]


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_results(run, predictions, accuracies):
    """`predictions`: (path, label, prediction, score)."""
    rows = [[p, CLASSES[a], CLASSES[b], s, int(a == b)] for p, a, b, s in predictions]
    header = ["path", "label", "prediction", "score", "correct"]
    write_csv(run / "results" / "predictions.csv", [header, *rows])
    rows = [[i, n, 2, a] for i, (n, a) in enumerate(zip(CLASSES, accuracies, strict=True))]
    write_csv(run / "results" / "per_class.csv", [["id", "name", "videos", "top1"], *rows])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A baseline and a run that knows one video more, one of them gone, one a folder."""
    folder = tmp_path_factory.mktemp("runs")
    film = str(write_video(folder / "a, b.mp4", 12))
    frames = str(write_frames(folder / "frames", 6))
    start = {"kind": "start", "job": "train", "folder": str(ROOT), "torch": "2.14"}
    start["command"] = "python tools/run_net.py --cfg configs/demo/SLOWONLY_CM.yaml"
    steps = [
        {"kind": "train", "epoch": e, "step": i, "steps": 4, "loss": 1.0, "step_s": 30.0}
        for e in (1, 2)
        for i in (2, 4)
    ]
    base = write_run(folder / "base", steps, n=1, top1=25.0)
    write_results(base, [(film, 0, 1, 0.9), (frames, 1, 0, 0.6), ("gone", 1, 0, 0.7)], [0, 50, 5])
    run = write_run(folder / "cm", [start, *steps], n=5, memory="AssociativeMemory", top1=50.0)
    write_results(run, [(film, 0, 0, 0.9), (frames, 1, 0, 0.6), ("gone", 1, 0, 0.7)], [100, 50, 0])
    summary = {"metrics": {"top1": 50.0, "videos": 3}, "by_position": [10.0, 20.0]}
    (run / "results" / "summary.json").write_text(json.dumps(summary | {"skipped": ["x.mp4: bad"]}))
    return read_runs([base, run])


@pytest.fixture(scope="module")
def text(runs):
    return report(runs[1:], runs[0])


def plain(text):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


def test_gains_mistakes_and_changes_by_hand(runs):
    base, run = runs
    gains = outcome.gains(run, base)
    assert [(g.name, g.points) for g in gains] == [
        (CLASSES[0], 100),
        (CLASSES[1], 0),
        ("stand", -5),
    ]
    found = outcome.predictions(run)
    (only,) = outcome.mistakes(found, pairs=3, videos=5)
    assert only[:3] == (CLASSES[1], CLASSES[0], 2)
    assert [p.score for p in only[3]] == [0.7, 0.6]
    assert outcome.changes(found, outcome.predictions(base)) == (3, 1, 0)


def test_the_page_says_what_the_runs_reached(text):
    said = plain(text)
    assert "cm against base" in said and "+25.0" in said and "0:04 h" in said
    assert "1 classes gain, 1 lose, 1 stay" in said
    assert "Of 3 videos tested by both, 1 are right now that were not; 0 were right before" in said
    assert "taken for jump &amp; run: 2" in said and "1 unreadable videos left out" in said
    assert re.search(r"VIDEO.NUM_CLIPS\s+1\s+5", said)
    assert "tools/run_net.py --cfg configs/demo/SLOWONLY_CM.yaml" in said and "torch 2.14" in said
    assert "No frames: gone" in said  # a video that has been moved since
    assert text.count("data:image/jpeg") == 1  # the folder of pictures


def test_gains_of_actions_in_boxes(tmp_path):
    """AVA's table counts boxes; a class without any has no value."""
    header = ["id", "name", "AP", "ground_truth", "detections", "true_positives"]
    made = []
    for name, ap in (("base", 10.0), ("cm", 30.0)):
        run = write_run(tmp_path / name, n=5)
        rows = [[1, "sit", ap, 4, 8, 4], [2, "stand", "n/a", 0, 8, 0]]
        write_csv(run / "results" / "per_class.csv", [header, *rows])
        made.append(read_run(run))
    (gain,) = outcome.gains(made[1], made[0])
    assert (gain.name, gain.count, gain.points) == ("sit", 4, 20.0)
    assert "1 classes gain, 0 lose, 0 stay" in plain(report(made[1:], made[0]))


@pytest.mark.parametrize(
    "name, row",
    [("predictions.csv", "a.mp4,sit"), ("per_class.csv", "0,a,2,x"), ("per_class.csv", "0")],
)
def test_damaged_results_are_told(name, row, tmp_path):
    run = read_run(write_run(tmp_path / "a", n=1))
    header = {"predictions.csv": "path,label,prediction,score,correct\n"}
    text = header.get(name, "id,name,videos,top1\n") + row
    (run.path / "results" / name).write_text(text)
    read = outcome.predictions if name == "predictions.csv" else outcome.classes
    with pytest.raises(UserError, match=f"results/{name}:2: damaged, no row of a test's"):
        read(run)


def test_names_are_no_markup(text):
    assert "<b>" not in text and "&lt;b&gt;sit&lt;/b&gt;" in text


def test_everything_lies_inside_the_page(text):
    links = re.findall(r"(?:src|href)=[\"']?([^\"'\s>]+)", text)
    assert links and all(link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"<script|@import|url\(|<iframe|<link rel=.stylesheet", text)
    assert "default-src 'none'" in text


def test_a_run_that_has_hardly_begun(tmp_path):
    run = write_run(tmp_path / "new")
    said = plain(report([read_run(run)]))
    assert "Not tested yet" in said and "No results/predictions.csv" in said
    assert "none of the logs has a training step" in said and "Not in the log" in said


def test_a_config_is_held_against_its_base(runs, tmp_path):
    name, base = base_of(runs[1])
    assert name == "configs/demo/SLOWONLY_MULTICLIP.yaml"
    assert base["VIDEO.NUM_CLIPS"] == 5 and base["MEMORY.INTERACTION"] == "NoMemory"
    assert commands(runs[1]) == ["python tools/run_net.py --cfg configs/demo/SLOWONLY_CM.yaml"]
    moved = RunFolder(tmp_path, "moved", log=({**runs[1].log[0], "folder": str(tmp_path)},))
    assert base_of(moved)[0] == base_of(runs[0])[0] == DEFAULTS
    assert differences({"A": 1, "B": 2, "OUTPUT_DIR": "x"}, {"B": 3}) == [
        ("A", 1, None),
        ("B", 2, 3),
    ]


@pytest.mark.parametrize(
    "content", [None, b"", b"# nothing", b"A: [", b"\xff", b"_BASE_: gone.yaml"]
)
def test_a_config_file_as_it_is_by_now(content, tmp_path):
    """Edited for the next run while this one went on: a training that ends must not fail of it."""
    if content is not None:
        (tmp_path / "a.yaml").write_bytes(content)
    start = {"kind": "start", "folder": str(tmp_path), "command": "python run_net.py --cfg a.yaml"}
    lines = (start, {"kind": "start"}, {"kind": "start", "command": "'"})
    assert base_of(RunFolder(tmp_path, "a", log=lines))[0] == DEFAULTS


def test_columns_of_numbers_stand_right():
    made = table(["name", "n", "gain"], [["a", 1, gain(-0.5)], ["b", None, gain(0.04)]])
    assert made.count("class=number") == 6
    assert '<span class="down">−0.5' in made and "<span>+0.0" in made


@needs_browser
def test_a_browser_loads_all_of_it(text, tmp_path):
    assert_loads(text, tmp_path)


def test_the_policy_holds_for_every_page():
    made = page("a < b", "lead", [("One", paragraph("x & y", soft=True))])
    assert "<title>a &lt; b</title>" in made and 'href="#s0"' in made and "x &amp; y" in made


def test_the_tool(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import report as tool

    base, run = (str(run.path) for run in runs)
    out = tmp_path / "pages" / "report.html"
    words = ["report.py", run, "--baseline", base, "--names", "Before", "After", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    tool.main()
    assert capsys.readouterr().out.strip() == str(out)
    assert "After against Before" in out.read_text()
