"""The order of videos: of (seed, epoch) alone, spread over processes without loss or repetition."""

import pytest

from cmvl.data.order import EpochSampler


def step_by_step(length, videos, ranks, passes=1, start=0, epoch=2):
    """The videos of each step over all processes."""
    samplers = [EpochSampler(length, 3, videos, rank, ranks, passes) for rank in range(ranks)]
    for sampler in samplers:
        sampler.set_epoch(epoch, start)
    orders = [[index for _, index in sampler] for sampler in samplers]
    assert all(len(order) == len(s) for order, s in zip(orders, samplers, strict=True))
    share = videos * passes
    steps = range(len(orders[0]) // share)
    return [{i for order in orders for i in order[s * share : (s + 1) * share]} for s in steps]


def test_a_function_of_seed_and_epoch():
    sampler, again = EpochSampler(50, 3, 1), EpochSampler(50, 3, 1)
    assert list(sampler) == list(again) and len(sampler) == 50
    assert sorted(index for _, index in sampler) == list(range(50))
    sampler.set_epoch(1)
    assert {epoch for epoch, _ in sampler} == {1}
    assert [i for _, i in sampler] != [i for _, i in again]
    assert list(EpochSampler(50, 4, 1)) != list(again)


@pytest.mark.parametrize(("ranks", "passes"), [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2)])
def test_steps_hold_the_same_videos_however_they_are_split(ranks, passes):
    steps = step_by_step(50, 8 // ranks // passes, ranks, passes)
    assert steps == step_by_step(50, 8, 1)
    assert len(steps) == 6 and len(set.union(*steps)) == 48  # two videos make no step


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_goes_on_at_a_video_whatever_the_number_of_processes(ranks):
    whole = step_by_step(50, 4, 2)
    assert step_by_step(50, 8 // ranks, ranks, start=16) == whole[2:]
    later = step_by_step(50, 8 // ranks, ranks, start=20)  # of a run with steps of 4
    fours = step_by_step(50, 4, 1)
    assert len(later) == 3 and later[0] == fours[5] | fours[6]


def test_places():
    sampler = EpochSampler(50, 0, 2, 0, 2, 2)
    assert sampler.step_videos == 8 and sampler.steps == 6 and sampler.end() == 48
    sampler.set_epoch(0, 24)
    assert sampler.place(2) == 40 and sampler.steps_left() == 3 and sampler.end() == 48
    for start in (48, 99):  # of a longer list
        sampler.set_epoch(0, start)
        assert list(sampler) == [] and len(sampler) == 0 and sampler.end() == start
    sampler.set_epoch(0, 48)
    assert list(sampler) == []
