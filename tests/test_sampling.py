"""Clips against PySlowFast's own numbers (tests/data/sampling), and by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from cmvl.data.rules import SegmentRule, SpanRule, StridedRule
from cmvl.data.sampling import (
    clip_span,
    frame_indices,
    random_clips,
    segments,
    strided_indices,
    strided_random,
    strided_uniform,
    uniform_clips,
)

TABLES = Path(__file__).parent / "data" / "sampling"


def table(name):
    with open(TABLES / name, newline="") as file:
        return list(csv.DictReader(file))


class FixedNumbers:
    """A generator whose uniform numbers are given."""

    def __init__(self, u):
        self.u = np.array(u)

    def random(self, n):
        assert n == len(self.u)
        return self.u


@pytest.mark.parametrize("row", table("clip_index_whole_video.csv"), ids=lambda r: r["case"])
def test_kinetics_rule(row):
    length, T, index = int(row["num_frames"]), int(row["T"]), int(row["clip_idx"])
    span = clip_span(T, float(row["tau"]), float(row["target_fps"]), float(row["fps"]))
    assert span == pytest.approx(float(row["clip_size"]), rel=1e-12)
    if index < 0:
        starts = random_clips(length, span, 1, FixedNumbers([float(row["u"])]))
    else:
        reach_end = row["use_offset"] == "1"
        starts = uniform_clips(length, span, int(row["num_views"]), reach_end)[index : index + 1]
    assert starts[0] == pytest.approx(float(row["start"]), abs=1e-9)
    frames = " ".join(map(str, frame_indices(starts, span, T, length)[0]))
    assert frames in (row["frame_indices"], row["exact_arithmetic_indices_if_different"])


@pytest.mark.parametrize("row", table("multi_clip_train.csv"), ids=lambda r: r["case"])
def test_random_clips_of_one_video(row):
    u = [float(x) for x in row["u_list"].split()]
    span = float(row["clip_size"])
    starts = random_clips(int(row["num_frames"]), span, len(u), FixedNumbers(u))
    expected = [float(x) for x in row["starts_sorted"].split()]
    np.testing.assert_allclose(np.sort(starts), expected, rtol=1e-12)
    ends = [float(x) for x in row["ends_sorted"].split()]
    np.testing.assert_allclose(np.sort(starts) + span - 1, ends, rtol=1e-12)


def test_random_clips_keep_the_order_drawn():
    u = [0.9, 0.1, 0.5]
    np.testing.assert_allclose(random_clips(110, 10, 3, FixedNumbers(u)), [90, 10, 50])


def test_stratified_clips_start_in_their_part():
    rng = np.random.default_rng(0)
    starts = np.stack([random_clips(130, 30, 5, rng, stratified=True) for _ in range(200)])
    assert (starts // 20 == np.arange(5)).all()
    assert starts.std(axis=0).min() > 4


def test_a_clip_spans_at_least_one_frame():
    assert clip_span(1, 1, 30, 1) == 1
    assert clip_span(8, 8, 30, 15) == 32


@pytest.mark.parametrize("length", [1, 2, 5])
def test_short_video_repeats_its_last_frame(length):
    starts = random_clips(length, 64, 3, np.random.default_rng(0))
    frames = frame_indices(starts, 64, 8, length)
    assert frames.shape == (3, 8) and frames.dtype == np.int64
    assert (starts == 0).all() and (frames[:, -1] == length - 1).all()
    assert frames.min() == 0 and frames.max() == length - 1


def test_one_frame_per_clip():
    assert frame_indices(np.array([3.7]), 1.0, 1, 10).tolist() == [[3]]


def frames_of(row):
    return [int(k) for k in row.split()]


@pytest.mark.parametrize("row", table("charades_frames.csv"), ids=lambda r: r["case"])
def test_charades_rule(row):
    length, T, tau = int(row["video_length"]), int(row["T"]), int(row["tau"])
    if row["mode"] == "test":
        starts = strided_uniform(length, T, tau, int(row["num_views"]))
        start = starts[int(row["temporal_idx"])]
    else:
        low, high, start = (int(row[k]) for k in ("randint_low", "randint_high", "picked_start"))
        drawn = strided_random(length, T, tau, 3, FixedNumbers([0.0, 0.5, 1 - 1e-9]))
        assert drawn[0] == low and drawn[2] == high and low <= drawn[1] <= high
    frames = strided_indices(np.array([start]), T, tau, length)[0]
    assert frames.tolist() == frames_of(row["frame_indices"])


def test_charades_rule_gives_every_start_alike():
    starts = strided_random(20, 4, 2, 7000, np.random.default_rng(0))
    values, counts = np.unique(starts, return_counts=True)
    assert values.tolist() == list(range(14)) and counts.min() > 400
    ordered = strided_random(107, 4, 2, 10, np.random.default_rng(0), stratified=True)
    assert (np.floor((ordered + 0.5) / 10.1) == np.arange(10)).all()  # of 101 starts


def test_one_strided_view_lies_in_the_middle():
    assert strided_uniform(27, 4, 2, 1).tolist() == [10]


@pytest.mark.parametrize("row", table("ssv2_frames.csv"), ids=lambda r: r["case"])
def test_something_something_rule(row):
    length, T = int(row["video_length"]), int(row["T"])
    low, high = segments(length, T)
    assert low.tolist() == frames_of(row["segment_low"])
    assert high.tolist() == frames_of(row["segment_high"])
    rule = SegmentRule(T, 1, 30)
    assert rule.uniform(length, 30, 1)[0].tolist() == frames_of(row["test_frame_indices"])
    clips = rule.random(length, 30, 50, np.random.default_rng(0), False)
    assert (clips >= low).all() and (clips <= high).all()
    spread = rule.uniform(length, 30, 3)
    assert (np.diff(spread, axis=0) >= 0).all() and (spread >= low).all() and (spread <= high).all()


def test_rules_count_in_the_target_rate():
    """A stride of 2 at 30 frames a second is one of 4 at 60."""
    assert np.diff(StridedRule(8, 2, 30).uniform(300, 60, 1)[0]).tolist() == [4] * 7
    assert np.diff(StridedRule(8, 2, 24).uniform(300, 24, 1)[0]).tolist() == [2] * 7
    assert SpanRule(8, 8, 30).uniform(300, 30, 1)[0].tolist() == [0, 9, 18, 27, 36, 45, 54, 63]
