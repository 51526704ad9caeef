"""How a long job says how far it is."""

import io
import itertools
import sys

from cmvl.utils import progress as module
from cmvl.utils.logging import logger, setup_logging
from cmvl.utils.progress import progress, silent


class Screen(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch):
    """For stdout and stderr; within a test, for pytest sets them before each."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", screen)
    return screen


def seconds(monkeypatch, each):
    """A clock that is asked once at the start and once an item."""
    monkeypatch.setattr(module.time, "monotonic", itertools.count(0, each).__next__)


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch):
    screen = terminal(monkeypatch)
    assert list(progress("abcd", 7, "reading", "file", done=3)) == list("abcd")
    shown = screen.getvalue()
    assert "reading:  43%|" in shown and "3/7" in shown and "file" in shown
    assert shown.split("\r")[-2].strip() == ""


def test_lines_of_the_log_stand_above_the_bar(monkeypatch, tmp_path):
    screen = terminal(monkeypatch)
    setup_logging(tmp_path)
    for i in progress([0, 1], 2, "epoch 1", "step"):
        logger.info("step %d done", i)
    shown = screen.getvalue().split("\r")
    assert [part for part in shown if "done" in part and "epoch" in part] == []
    assert len([part for part in shown if part.rstrip("\n").endswith("done")]) == 2


def test_elsewhere_lines_come_now_and_then(monkeypatch, capsys):
    seconds(monkeypatch, 12)  # an item takes 12 s, so every third is a line
    assert list(progress(range(7), 9, "reading", "file", done=2)) == list(range(7))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "reading: 5 of 9 files, 00:48 left",
        "reading: 8 of 9 files, 00:12 left",
    ]
    said = []
    list(progress(range(3), 3, "reading", "file", say=said.append))
    assert said == ["reading: 3 of 3 files, 00:00 left"]
    list(progress(range(3), 3, "reading", "file", say=silent))
    assert capsys.readouterr().err == ""


def test_only_the_main_process_shows_anything(monkeypatch):
    screen = terminal(monkeypatch)
    monkeypatch.setattr(module, "is_main", lambda: False)
    assert list(progress("ab", 2, "reading", "file")) == ["a", "b"]
    assert screen.getvalue() == ""
