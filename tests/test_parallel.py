"""Work on many files in several processes, of which some fail or die."""

import os
import time

import pytest

from cmvl.data import parallel
from cmvl.data.parallel import Crash, for_each


def double_or_die(x):
    if x == 3:
        os._exit(1)
    return 2 * x


def test_a_crash_of_a_process_is_named(monkeypatch):
    results = dict(for_each(double_or_die, list(range(6)), workers=1, what="doubling"))
    assert isinstance(results.pop(3), Crash)
    assert results == {0: 0, 1: 2, 2: 4, 4: 8, 5: 10}
    monkeypatch.setattr(parallel, "_pool", None)
    assert dict(for_each(double_or_die, [1], workers=0, what="doubling")) == {0: 2}


def fail_or_note(path):
    if path.name == "0":
        raise ValueError("the disk is full")
    time.sleep(0.1)  # 50 s for all of them
    path.touch()


def test_where_one_raises_the_others_are_not_waited_for(tmp_path):
    with pytest.raises(ValueError, match="the disk is full"):
        list(for_each(fail_or_note, [tmp_path / str(i) for i in range(500)], 1, "noting"))
    assert len(os.listdir(tmp_path)) < 400
