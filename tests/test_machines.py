"""Of a failure on one machine all hear at once, and what it was."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from cmvl.launch import machines
from cmvl.launch.machines import Machines, meet

from toy import free_port

HERE = Path(__file__).parent
SCRIPT = """
import sys
import crew_jobs
from cmvl.launch import machines
from cmvl.utils.errors import run_tool
from cmvl.launch import Crew, launch
machines.SILENT = 4
shard, address, job, *arguments = sys.argv[1:]
crew = Crew(1, False, 2, int(shard), address, meeting=60)
if __name__ == "__main__":
    run_tool(lambda: launch(getattr(crew_jobs, job), arguments, crew))
"""


@pytest.fixture
def start(tmp_path):
    """A run on two machines, of which this one plays both: their launchers."""
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": f"{HERE.parent}:{HERE}"}
    address, launchers = f"tcp://127.0.0.1:{free_port()}", []

    def start(*job):
        for shard in "01":
            words = [sys.executable, str(tmp_path / "script.py"), shard, address, *job]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            launchers.append(subprocess.Popen(words, text=True, env=environment, **pipes))
        return launchers

    yield start
    for launcher in launchers:
        launcher.kill()
        launcher.communicate()


def last_words(launcher):
    said = launcher.communicate(timeout=60)[1].splitlines()
    return launcher.returncode, said[-1]


@pytest.mark.parametrize(("failing", "hearing"), [(0, "hearing"), (1, "hearing"), (1, "deaf")])
def test_the_cause_is_told_on_every_machine(start, failing, hearing):
    """Whether the others wait for ever, as under NCCL, or lose a connection, as under gloo."""
    launchers = start("fail_apart", str(failing), hearing)
    cause = "train.csv:7: no label"
    told = f"error: machine {failing}, {socket.gethostname()}: {cause}"
    assert last_words(launchers[failing]) == (1, f"error: {cause}")
    assert last_words(launchers[1 - failing]) == (1, told)


@pytest.fixture
def waiting(start):
    """Two launchers whose processes wait to be stopped, and who have looked for each other."""
    launchers = start("wait_for_a_stop", "")
    for launcher in launchers:
        assert any(line == "here\n" for line in launcher.stdout)
    time.sleep(3)
    return launchers


def test_a_machine_0_that_is_gone(waiting):
    first, second = waiting
    first.kill()
    code, said = last_words(second)
    assert code == 1 and said.startswith("error: machine 0, which listened at 127.0.0.1:")


def test_a_machine_that_gives_no_sign_is_named(monkeypatch):
    """Not one that has not come yet, nor one that has left."""
    monkeypatch.setattr(machines, "SILENT", 2)
    first = Machines(3, 0, "node0", 1, dist.HashStore())
    assert [first._sign() for _ in range(5)] == [""] * 5
    first.store.set("sign/2", "node2 1")
    assert [first._sign() for _ in range(3)] == [""] * 3
    first.store.set("sign/2", "node2 2")
    assert [first._sign() for _ in range(3)] == [""] * 3
    assert first._sign().startswith("machine 2, node2, has given no sign of life for 2 s")
    first.store.set("left/2", "")
    assert first._sign() == ""


@pytest.mark.parametrize(("run", "counted"), [("", 0), ("met", 2)])
def test_who_refuses_is_gone_sooner_than_who_is_silent(run, counted, monkeypatch):
    """But for a machine 0 that nobody has met yet: DIST.MEETING is for that."""
    second = Machines(2, 1, "node0", 1, None, _run=run)

    def refused():
        second._over = True
        second._awake.set()
        return False

    monkeypatch.setattr(second, "_ask", refused)
    second._keep_asking()
    assert second._unanswered == counted


def test_a_second_ctrl_c_is_told(waiting):
    first, second = waiting
    second.send_signal(signal.SIGINT)
    second.send_signal(signal.SIGINT)
    assert last_words(second) == (130, "interrupted")
    assert last_words(first)[1].endswith(": ended by Ctrl-C")


def test_brackets_around_an_address_of_ipv6():
    assert meet(2, 1, "tcp://[fd00::1]:29500", 5).host == "fd00::1"


def test_a_run_that_began_anew_is_another():
    """Its machine 0 listens where the one that is gone did."""
    point = f"tcp://127.0.0.1:{free_port()}"
    first, second = meet(2, 0, point, 5), meet(2, 1, point, 5)
    assert second._ask() and not second.heard
    first.store = second.store = None
    anew = meet(2, 0, point, 5)
    second._mine = "a late failure"
    assert not second._ask() and not second.heard
    assert anew._ask() and not anew.heard


def test_machine_0_stays_until_the_others_have_left(monkeypatch):
    point, naps = f"tcp://127.0.0.1:{free_port()}", []
    first, second = meet(2, 0, point, 5), meet(2, 1, point, 5)
    assert second._ask()

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            with second.in_touch(lambda: None):
                pass

    monkeypatch.setattr(machines, "time", SimpleNamespace(sleep=nap, monotonic=time.monotonic))
    first._see_off()
    assert len(naps) == 3 and first.store.check([machines.LEFT.format(1)])
