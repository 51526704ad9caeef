"""The demo's label is a relation that no single clip shows."""

import json
from collections import Counter, defaultdict
from itertools import combinations, permutations

import numpy as np
import pytest

from cmvl.data.decode import probe
from cmvl.data.demo import PRESETS, write_demo
from cmvl.data.demo.plan import (
    CLASSES,
    CLIP_SPAN,
    COLOURS,
    CUES,
    PAINTS,
    SHORT_SPAN,
    plan_video,
)
from cmvl.data.sampling import clip_span

CUE_PLANS = [plan_video("cue", "train", i, np.random.default_rng(i)) for i in range(240)]
PLANS = [plan_video("relation", "train", i, np.random.default_rng(i)) for i in range(240)]


def test_labels_are_balanced_and_follow_from_the_events():
    for plan in PLANS:
        first, second = plan.events
        assert CLASSES["relation"][plan.label] == (
            "alike" if first.colour == second.colour else "unlike"
        )
    assert set(Counter(plan.label for plan in PLANS).values()) == {120}


@pytest.mark.parametrize("event", [0, 1])
def test_a_colour_says_nothing_about_the_label(event):
    counts = Counter((plan.events[event].colour, plan.label) for plan in PLANS)
    assert len(counts) == 2 * len(COLOURS) and len(set(counts.values())) == 1


def test_no_clip_sees_both_events():
    assert clip_span(4, 16, 30, 30) == CLIP_SPAN  # that of configs/demo
    for plan in PLANS:
        first, second = plan.events
        assert first.start >= 0 and second.start + second.length <= plan.frames
        assert second.start - (first.start + first.length) >= CLIP_SPAN
        assert 210 <= plan.frames <= 240


def test_bound_of_additive_scores():
    """The docstring's 2/3: every sign pattern of g, at its best."""
    M = len(COLOURS)
    best = 0.0
    for s in range(M + 1):
        alike = s / M  # pairs of a colour with negative g
        lost = len(list(combinations(range(s), 2))) / len(list(combinations(range(M), 2)))
        best = max(best, (alike + 1 - lost) / 2)
    assert best == pytest.approx(2 / 3)


def test_the_cue_names_the_label():
    assert set(Counter(plan.label for plan in CUE_PLANS).values()) == {60}
    for plan in CUE_PLANS:
        by_shade = dict(e.colour.split("-") for e in plan.events if "-" in e.colour)
        (cue,) = {e.colour for e in plan.events} & set(CUES.values())
        (asked,) = (shade for shade, paint in CUES.items() if paint == cue)
        assert CLASSES["cue"][plan.label] == by_shade[asked]
        assert len(set(by_shade.values())) == 2


def test_no_short_clip_sees_two_events():
    assert clip_span(2, 4, 5, 30) == SHORT_SPAN  # that of the study's configs
    for plan in CUE_PLANS:
        events = plan.events
        assert events[0].start >= 0 and events[2].start + events[2].length <= plan.frames
        for before, after in zip(events, events[1:], strict=False):
            assert after.start - (before.start + before.length) >= SHORT_SPAN


def test_bound_of_additive_scores_with_a_cue():
    """The docstring's 3/4: with any scores g(event, class) the margins of four videos cancel."""
    rng = np.random.default_rng(0)
    g = defaultdict(lambda: rng.normal(size=len(COLOURS)))
    names = list(COLOURS)
    for one, other in combinations(range(len(COLOURS)), 2):
        margins = []
        for light, dark in permutations((one, other)):
            for cue, label, rival in (("white", light, dark), ("black", dark, light)):
                shown = (f"light-{names[light]}", f"dark-{names[dark]}", cue)
                assert set(shown) <= set(PAINTS)
                score = sum(g[event] for event in shown)
                margins.append(score[label] - score[rival])
        assert sum(margins) == pytest.approx(0, abs=1e-12)


def test_the_studys_files(tmp_path):
    write_demo(tmp_path, train=2, val=1, test=1, workers=1, preset="cue")
    truth = json.loads((tmp_path / "cue" / "truth.json").read_text())
    info = probe(tmp_path / "cue" / "train" / "0001.mp4")
    assert (info.width, info.height, info.fps) == (64, 48, 5)
    assert info.frames == -(-truth["train/0001.mp4"]["frames"] // 6)
    assert len((tmp_path / "paints" / "classes.txt").read_text().split()) == 10
    assert len((tmp_path / "paints" / "train.csv").read_text().splitlines()) == 10


def test_the_demos_task_in_the_studys_size(tmp_path):
    write_demo(tmp_path, train=2, val=1, test=1, workers=1, preset="alike")
    info = probe(tmp_path / "relation" / "train" / "0001.mp4")
    assert (info.width, info.height, info.fps) == (64, 48, 5)
    assert len((tmp_path / "events" / "train.csv").read_text().splitlines()) == 4


def test_files_lists_and_truth(demo_data):
    for task in PRESETS["relation"].tasks:
        folder, classes = demo_data / task, CLASSES[task]
        truth = json.loads((folder / "truth.json").read_text())
        assert (folder / "classes.txt").read_text().split() == classes
        for split in ("train", "val", "test"):
            rows = [x.split() for x in (folder / f"{split}.csv").read_text().splitlines()]
            assert rows
            for path, label in rows:
                info = probe(folder / path)
                assert (info.frames, info.fps) == (truth[path]["frames"], 30)
                assert truth[path]["label"] == int(label)


def test_the_same_seed_makes_the_same_files_and_keeps_them(tmp_path):
    write_demo(tmp_path / "a", train=2, val=1, test=1, workers=1)
    write_demo(tmp_path / "b", train=2, val=1, test=1, workers=1)
    name = "relation/train/0001.mp4"
    first = (tmp_path / "a" / name).read_bytes()
    assert first == (tmp_path / "b" / name).read_bytes()
    stamp = (tmp_path / "a" / name).stat().st_mtime_ns
    (tmp_path / "a/relation/train/0000.mp4").unlink()
    write_demo(tmp_path / "a", train=2, val=1, test=1, workers=1)
    assert (tmp_path / "a" / name).stat().st_mtime_ns == stamp
    assert (tmp_path / "a/relation/train/0000.mp4").exists()
    write_demo(tmp_path / "a", train=2, val=1, test=1, seed=1, workers=1)
    assert (tmp_path / "a" / name).read_bytes() != first
