"""Ctrl-C: the first asks a run to save and stop, a second ends it; no worker is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cmvl.launch.signals import HEARD, handling, stop_requests
from cmvl.utils.errors import run_tool

ROOT = Path(__file__).parent.parent


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_second_ctrl_c_ends_at_once(capfd):
    with pytest.raises(KeyboardInterrupt), stop_requests() as stop:
        assert not stop
        interrupt()
        assert stop.name == "SIGINT" and capfd.readouterr().err == HEARD
        interrupt()
    with pytest.raises(KeyboardInterrupt):  # as before
        interrupt()


def test_ctrl_c_after_a_stop_signal_ends_at_once():
    with pytest.raises(KeyboardInterrupt), stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.name == "SIGUSR1"
        interrupt()


def test_who_ignores_ctrl_c_goes_on_ignoring_it():
    """A process of a crew: its launcher hears it."""
    with handling(signal.SIG_IGN, [signal.SIGINT]), stop_requests() as stop:
        interrupt()
        assert not stop


def test_a_tool_ends_with_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        run_tool(interrupt)
    assert ended.value.code == 130 and capsys.readouterr().err == "interrupted\n"


def test_a_tool_runs_without_a_place_to_print_to(monkeypatch):
    """`tool >&-`: Python has no stdout then."""
    monkeypatch.setattr(sys, "stdout", None)
    ran = []
    run_tool(lambda: ran.append(True))
    assert ran


LOADING = """
import time
from cmvl.data.loader import VideoLoader

class Slow(list):
    def __getitem__(self, i):
        time.sleep(600 * (i > 1))
        return i

if __name__ == "__main__":
    loader = VideoLoader(Slow(range(99)), 3, 0, 4, batch_size=1)
    batches = iter(loader)
    next(batches)
    print(*[worker.pid for worker in loader._workers()], flush=True)
    next(batches)
    time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_workers_end_with_a_process_that_is_killed(tmp_path):
    (tmp_path / "loading.py").write_text(LOADING)
    words = [sys.executable, str(tmp_path / "loading.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 3 and all(is_alive(pid) for pid in workers)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


SHARING = """
import os, socket, sys, time
from multiprocessing import resource_sharer
from cmvl.launch.signals import as_in_a_worker

as_in_a_worker()
resource_sharer.DupFd(0)  # starts what hands over tensors
for words in (b"", b"amid a handshake"):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(resource_sharer._resource_sharer._address)
        client.send(words)
time.sleep(0.5)
sys.excepthook(ValueError, ValueError("another"), None)
"""


def test_a_worker_says_nothing_where_its_main_process_leaves_amid_a_tensor():
    """As one does that is interrupted."""
    words = [sys.executable, "-c", SHARING]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stderr == "ValueError: another\n"


def is_alive(pid):
    """A dead one that nobody has asked for is in state Z."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
