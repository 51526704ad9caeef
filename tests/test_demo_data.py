"""The demo's label is a relation that no single clip shows."""

import json
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from cmvl.data.decode import probe
from cmvl.data.demo import write_demo
from cmvl.data.demo.plan import CLASSES, CLIP_SPAN, COLOURS, plan_video
from cmvl.data.sampling import clip_span

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


def test_files_lists_and_truth(demo_data):
    for task, classes in CLASSES.items():
        folder = demo_data / task
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
