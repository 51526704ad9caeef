"""What docs/study.md says of differences, worked out again from the results beside it."""

import re
from pathlib import Path
from statistics import correlation, mean, stdev

import pytest

from cmvl.report.study import read_results

PAGE = Path(__file__).parent.parent / "docs" / "study.md"
TEXT = re.sub(r"\s+", " ", PAGE.read_text())
RUNS = {(r["cell"], r["seed"]): r for r in read_results(PAGE.with_suffix("") / "results.jsonl")}
SEEDS = range(9)


def differences(cell, other, value=lambda run: run["top1"], seeds=SEEDS):
    """Of the runs with the same seed."""
    both = [seed for seed in seeds if (cell, seed) in RUNS and (other, seed) in RUNS]
    return [value(RUNS[cell, seed]) - value(RUNS[other, seed]) for seed in both]


def as_text(values):
    """Their mean and its standard error."""
    return f"{mean(values):.1f} ± {stdev(values) / len(values) ** 0.5:.1f}"


NINE = [  # seeds 0 to 8: the cell ahead, the other, the sentence, in how many seeds
    ("after_clips", "after_clips_frozen", "end-to-end is ahead in all nine seeds, by {}", 9),
    ("cm", "residual", "ahead of the residual design in eight of nine, by {}", 8),
    ("cm_long", "residual_long", "the gate is ahead in every seed, by {}", 9),
    ("cm", "n3", "from 3 to 5 clips by {}", 8),
    ("n7", "cm", "to 7 by {}", 6),
    ("multi_iteration", "cm", "They differ by {} points, the one ahead in six seeds", 6),
    ("cm", "after_clips", "from single events in eight seeds, by {}", 8),
    ("stride8", "clips", "helps in every seed, by {}", 9),
    ("clips", "stride16", "cannot hold the middle one, which costs {}", 8),
    ("cm", "stride8", "No stride comes near the memory: {} points are left", 9),
    ("cm", "clips", "The memory lifts Slow-only by {}", 9),
    ("i3d_cm", "i3d_clips", "I3D by {}", 9),
    ("r2plus1d_cm", "r2plus1d_clips", "R(2+1)D by {}, each in every seed", 9),
    ("slowfast_cm", "slowfast_clips", "SlowFast gains {} points over all and loses 2.5", 8),
    ("slowfast_cm", "slowfast_cm_slow", "in seven of nine seeds, by {}", 7),
]
SIX = [  # 3 to 8
    ("cm", "init_normal", "is ahead of N(0, 0.01) by {} points in every seed", 6),
    ("independent_layer", "independent", "five of six seeds, by {}, `batch_all`", 5),
    ("independent_all", "independent", "`batch_all` in four, by {}.", 4),
    ("shuffled_ungrouped", "shuffled", "lose {} to all clips together", 5),
    ("shuffled_layer", "shuffled", "ahead of the batch norm by {}, level in one", 5),
    ("shuffled_all", "shuffled", "`batch_all` gains nothing ({})", 3),
    ("independent_ungrouped", "independent", "by far: {} points in Slow-only", 6),
    ("i3d_ungrouped", "i3d_independent", "{} in I3D,", 6),
    ("r2plus1d_ungrouped", "r2plus1d_independent", "{} in R(2+1)D,", 6),
    ("slowfast_ungrouped", "slowfast_independent", "{} in SlowFast, in all 24 pairs", 6),
    ("maps32_ungrouped", "maps32_independent", "lose {} points to all clips together, level", 5),
    ("maps128_ungrouped", "maps128_independent", "and {}, in every seed:", 6),
    ("independent_ungrouped_layer", "independent_layer", "Slow-only's memory {}, where", 5),
    ("independent_ungrouped_layer", "independent_ungrouped", "itself then gains nothing ({}).", 2),
]
LAST = [  # 9 to 14
    ("ungrouped", "frozen", "too, in five of six seeds, by {} points", 5),
    ("after_clips_ungrouped", "after_clips_frozen", "from clip-level training by {}.", 6),
    ("ungrouped", "tenth_ungrouped", "behind the whole one by {} points from single", 4),
    ("ungrouped", "nomemory_ungrouped", "the memory lifts Slow-only by {} points; the gate", 6),
    ("ungrouped", "residual_ungrouped", "ahead of the residual design by {} and", 6),
    ("ungrouped", "avgpool_ungrouped", "of average pooling by {}, all in every seed", 6),
    ("ungrouped", "n3_ungrouped", "5 clips are ahead of 3 by {}, and", 5),
    ("n9_ungrouped", "ungrouped", "and 9 of 5 by {}.", 5),
    ("ungrouped", "r8_ungrouped", "d / d' = 8 loses nothing ({})", 3),
    ("alike_ungrouped", "alike_batch", "groups lose {} points where the backbone is frozen", 6),
    ("alike_tuned_ungrouped", "alike_tuned", "and {} end-to-end, at the rate of this study", 6),
    ("residual_ungrouped", "avgpool_ungrouped", "hardly ahead of average pooling ({})", 3),
    ("after_clips_ungrouped", "after_clips_tenth_ungrouped", "by {} from clip-level", 6),
]
VIEWS = [  # 15 to 20
    ("nomemory_v30", "nomemory_v3", "30 are level with 3 ({})", 2),
    ("cm", "cm_v5", "10 are ahead of 5 by {} points", 6),
    ("cm_v20", "cm", "20 of 10 by {}, ahead in five seeds and level in one", 5),
    ("cm_v30", "cm_v20", "and 30 are level with 20 ({})", 4),
]


@pytest.mark.parametrize(
    ("seeds", "cell", "other", "said", "ahead"),
    [
        (seeds, *pair)
        for seeds, pairs in (
            (SEEDS, NINE),
            (range(3, 9), SIX),
            (range(9, 15), LAST),
            (range(15, 21), VIEWS),
        )
        for pair in pairs
    ],
)
def test_differences_of_pairs(seeds, cell, other, said, ahead):
    found = differences(cell, other, seeds=seeds)
    assert len(found) == len(seeds)
    assert said.format(as_text(found)) in TEXT
    assert sum(value > 0 for value in found) == ahead


def test_a_memory_of_many_clips_serves_each_as_well():
    found = differences("cm_v30", "cm", lambda run: run["clip_top1"], seeds=range(15, 21))
    assert f"(30 views against 10: {as_text(found)} points of the clips)" in TEXT


def test_all_clips_together_are_ahead_of_groups_in_all_24_pairs():
    found = differences("independent_ungrouped", "independent")
    for net in ("i3d", "r2plus1d", "slowfast"):
        found += differences(f"{net}_ungrouped", f"{net}_independent")
    assert len(found) == 24 and min(found) > 0


def at_the_end(errors):
    """The last validation's error; the training error's mean over the last five epochs."""
    if errors == "val":
        return lambda run: run["val"][-1][1]
    return lambda run: mean(e for when, e in run["train"] if when > run["val"][-1][0] - 5)


@pytest.mark.parametrize(
    ("key", "said", "larger"),
    [
        ("long", ("{} points more of validation", "{} more of training", "seeds, by {}"), 8),
        ("few", ("than the gate's by {}", "the training error by {}", "seven seeds, by {}"), 7),
    ],
)
def test_figure_5(key, said, larger):
    cells = f"residual_{key}", f"cm_{key}"
    val, train = (differences(*cells, at_the_end(errors)) for errors in ("val", "train"))
    lost = [v - t for v, t in zip(val, train, strict=True)]
    for values, sentence in zip((val, train, lost), said, strict=True):
        assert sentence.format(as_text(values)) in TEXT
    assert sum(value > 0 for value in lost) == larger


def test_what_the_memory_gains_hangs_on_what_the_net_can_see():
    found = []
    for net in ("i3d", "r2plus1d"):
        seen = [RUNS[f"{net}_paints", seed]["top1"] for seed in SEEDS]
        found.append(f"{correlation(seen, differences(f'{net}_cm', f'{net}_clips')):.2f}")
    assert f"correlates with the gain at {' and '.join(found)}" in TEXT
