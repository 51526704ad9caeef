"""A worker that dies or hangs is named with the file it held; memory does not grow with them."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from cmvl.config import load_cfg
from cmvl.data import loader as loader_module
from cmvl.data.dataset import VideoDataset
from cmvl.data.loader import VideoLoader, watched
from cmvl.data.records import MultiLabelRecords, Records
from cmvl.data.transforms import EvalTransform
from cmvl.data.workers import holding, ignore_deaths
from cmvl.report.videos import Source, Videos, read_videos
from cmvl.structures import collate
from cmvl.utils.errors import DataError

from video_files import write_video

ROOT = Path(__file__).parent.parent


class Trouble(VideoDataset):
    """Video 2 is one at which the worker `how`: dies or hangs."""

    how = "dies"

    def _load(self, index, rng, failures=()):
        with holding(self.held, index):
            if index == 2 and self.how == "dies":
                os._exit(7)
            if index == 2 and self.how == "hangs":
                time.sleep(600)
        return super()._load(index, rng, failures)


@pytest.fixture
def data(tmp_path):
    paths = [str(write_video(tmp_path / f"{i}.mp4", 5)) for i in range(4)]
    records = Records("/lists/val.csv", paths, [0] * 4, range(1, 5))
    return Trouble(records, "val", EvalTransform(32, 32, 1), num_frames=2, sampling_rate=1)


def loader_of(data, workers=2, timeout=0):
    return VideoLoader(data, workers, timeout, prefetch=1, batch_size=1, collate_fn=collate)


@pytest.mark.parametrize("how, timeout", [("dies", 0), ("hangs", 4)])
def test_worker_is_named_with_its_file(data, how, timeout):
    data.how = how
    loader = loader_of(data, timeout=timeout)
    with pytest.raises(DataError) as error:
        list(loader)
    said = "died (exit code 7) at" if how == "dies" else "is at"
    assert f"{said} {data.records.path(2)} (val.csv:3)" in str(error.value)
    assert "loading stopped: DataLoader" in str(error.value)
    if how == "hangs":
        assert "timed out after 4 seconds" in str(error.value)
    data.how = "lives"
    data.records = Records("/lists/val.csv", [data.records.path(0)] * 2, [0] * 2, range(2))
    assert len(list(loader_of(data))) == 2


def test_a_scheduler_s_signal_does_not_end_workers_that_just_start(data, monkeypatch):
    """They would take the run down with them while it saves."""
    start = loader_module.start_worker

    def late(worker):
        time.sleep(1)
        start(worker)

    data.how = "lives"
    monkeypatch.setattr(loader_module, "start_worker", late)
    loader = loader_of(data)
    batches = loader._get_iterator()
    for worker in batches._workers:
        os.kill(worker.pid, signal.SIGTERM)
    assert len(list(batches)) == 4
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


FULL = "unable to allocate shared memory(shm) for file </torch_1_2>: No space left on device (28)"


def fail_at_video_2(self, index, how):
    if index == 2:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGBUS)
        raise RuntimeError(FULL)


FILES = "unable to open shared memory object </torch_1_2> in read-write mode: Too many open files"


class Unsendable(str):
    def __reduce__(self):
        raise RuntimeError(self)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (FILES, "too many open files"),
        (FULL, "in shared memory.*--shm-size"),
        ("another", r"died \(exit code 1\)"),
    ],
)
def test_a_batch_that_a_worker_cannot_send_is_not_waited_for(data, trouble, told, monkeypatch):
    """Its thread says so on the console and takes the next one."""
    load = VideoDataset._load

    def loaded(self, index, *rest):
        item = load(self, index, *rest)
        return replace(item, failures=(Unsendable(trouble),)) if index == 1 else item

    monkeypatch.setattr(VideoDataset, "_load", loaded)
    data.how = "works"
    with pytest.raises(DataError, match=told):
        list(loader_of(data, timeout=30))  # or a failure would be waited for


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(104, "Connection reset")])
@pytest.mark.parametrize("gone", [False, True])
def test_tensors_that_their_worker_does_not_hand_over(data, gone, error, monkeypatch):
    """It has gone, and closed what it was connected to before; or has no file left to open."""
    original = DataLoader.__iter__

    def broken_off(self):
        yield next(original(self))
        ignore_deaths()
        if gone:
            worker = self._workers()[0]
            threading.Timer(0.2, worker.kill).start()
        raise error

    monkeypatch.setattr(DataLoader, "__iter__", broken_off)
    data.how = "works"
    told = "left with what it had read\n.*exit code -9" if gone else "too many open files"
    with pytest.raises(DataError, match=told):
        list(loader_of(data))


def test_an_error_of_the_data_set_s_own_stays_what_it_is(data, monkeypatch):
    def failing(self, index, *_):
        raise EOFError("its own")

    monkeypatch.setattr(VideoDataset, "_load", failing)
    for workers in (0, 1):
        with pytest.raises(EOFError, match="its own"):
            list(loader_of(data, workers))


LIMITED = """
import resource, sys
from cmvl.data.loader import VideoLoader
from cmvl.data.records import Records
from cmvl.data.dataset import VideoDataset
from cmvl.data.transforms import EvalTransform
from cmvl.structures import collate

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1] if sys.argv[2] == "soft" else 64
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
records = Records("/lists/val.csv", [sys.argv[1]] * 40, [0] * 40, range(40))
data = VideoDataset(records, "val", EvalTransform(32, 32, 1), num_frames=2, sampling_rate=1)
loader = VideoLoader(data, 2, 0, prefetch=20, batch_size=1, collate_fn=collate)
kept = list(loader)
print(len(kept))
"""


@pytest.mark.parametrize("limit", ["soft", "hard"])
def test_open_files_of_many_batches(limit, tmp_path):
    """More are taken than usual, as far as the system lets; beyond that the mend is told."""
    video = write_video(tmp_path / "a.mp4", 5)
    command = [sys.executable, "-c", LIMITED, str(video), limit]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    if limit == "soft":
        assert done.stdout == "40\n", done.stderr
    else:
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("cmvl.utils.errors.DataError: loading stopped: too many open files")
        assert "ulimit -n" in last


@pytest.mark.parametrize("how", ["told", "killed"])
def test_a_container_short_of_shared_memory_is_told(data, monkeypatch, how):
    """Docker gives 64 MiB; no video is to blame."""
    load = VideoDataset._load
    monkeypatch.setattr(Trouble, "_load", lambda *a: fail_at_video_2(*a[:2], how) or load(*a))
    loader = loader_of(data)
    with pytest.raises(DataError, match="in shared memory.*--shm-size") as error:
        list(loader)
    assert ".mp4" not in str(error.value) and "\n" not in str(error.value)


def test_a_death_is_told_where_what_it_interrupts_fails_for_it(data):
    """As torch's writer of checkpoints does, which then misses the end of its file."""
    with pytest.raises(DataError, match="loading stopped: DataLoader worker .pid 7. is killed"):
        with watched(loader_of(data)):
            try:
                raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
            finally:
                raise RuntimeError("unexpected pos 589952 vs 589840")
    with pytest.raises(RuntimeError, match="^unexpected pos$"), watched(loader_of(data)):
        raise RuntimeError("unexpected pos")


def test_predictions_are_told_too(monkeypatch):
    monkeypatch.setattr(Videos, "__getitem__", lambda self, i: fail_at_video_2(self, 2, "told"))
    cfg = load_cfg(None, ["DATA.PATH_TO_DATA_DIR", "."])
    with pytest.raises(DataError, match="in shared memory.*--workers"):
        list(read_videos(cfg, [Source("a.mp4"), Source("b.mp4")], workers=1))


def test_a_worker_that_dies_over_ones_own_videos_is_told_with_its_video(monkeypatch):
    monkeypatch.setattr(VideoDataset, "read", lambda self, i, rng: os._exit(7))
    cfg = load_cfg(None, ["DATA.PATH_TO_DATA_DIR", "."])
    with pytest.raises(DataError, match=r"died \(exit code 7\) at a.mp4 \(video 1\)"):
        list(read_videos(cfg, [Source("a.mp4"), Source("b.mp4")], workers=1))


TWICE = """
import time
from multiprocessing import get_context
from cmvl.data.loader import VideoLoader

class Numbers(list):
    pass

class Slow(Numbers):
    def __getitem__(self, i):
        time.sleep(600 * (i > 0))
        return i

def hold():
    global loader
    loader = VideoLoader(Numbers([1, 2, 3]), 1, 0, 1, batch_size=1)
    print(len(list(loader)), flush=True)

def fail():
    global loader
    loader = VideoLoader(Slow(range(9)), 6, 0, 1, batch_size=1)
    for number in loader:
        raise ValueError("its own")

if __name__ == "__main__":
    process = get_context("spawn").Process(target=WHAT)
    process.start()
    process.join()
    WHAT()
"""


def run_twice(tmp_path, what):
    """In a process as those of a crew are, and in a plain one."""
    (tmp_path / "twice.py").write_text(TWICE.replace("WHAT", what))
    words = [sys.executable, str(tmp_path / "twice.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment)


def test_a_process_ends_though_something_holds_a_loader(tmp_path):
    """A global here; for ever, it would wait."""
    done = run_twice(tmp_path, "hold")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n3\n", "")


def test_a_process_that_fails_says_nothing_of_its_workers(tmp_path):
    """They are busy, and killed; torch would report each as a failure of its own."""
    said = run_twice(tmp_path, "fail").stderr
    assert said.count("ValueError: its own") == said.count("Traceback") == 2


def test_a_worker_that_nobody_told_to_end_is_ended(data, monkeypatch):
    """Torch's shutdown fails now and then, and then asks with SIGTERM."""
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.5)
    data.how = "hangs"
    loader = loader_of(data)
    batches = iter(loader)
    next(batches)
    workers = loader._workers()
    loader._iterator._mark_worker_as_unavailable = lambda *_, **__: None
    loader._iterator._shutdown_workers()
    assert len(workers) == 2
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()


@pytest.mark.parametrize(
    "error",
    [OSError(12, "Cannot allocate memory"), RuntimeError("CUDA"), KeyboardInterrupt("CUDA")],
)
def test_workers_that_had_started_before_one_could_not_are_ended(data, error, monkeypatch):
    """They hear no SIGTERM, and the process would wait for them for ever."""
    start, started = BaseProcess.start, []

    def begin(process):
        if started:
            raise error
        start(process)
        started.append(process)

    monkeypatch.setattr(BaseProcess, "start", begin)
    with pytest.raises((DataError, RuntimeError, KeyboardInterrupt)) as raised:
        list(loader_of(data, workers=2))
    told = "worker 2 of 2 could not be started (Cannot allocate memory): lower DATA_LOADER.NUM_"
    assert str(raised.value).startswith(told if isinstance(error, OSError) else "CUDA")
    for process in started:
        process.join(20)
    assert [process.exitcode for process in started] == [-9]


def test_no_workers_no_trouble(data):
    data.records = Records("/lists/val.csv", [data.records.path(0)], [0], [1])
    assert len(list(loader_of(data, workers=0))) == 1 and data.held is None


def test_records_are_compact():
    """Some tens of bytes a video, none of them a Python object."""
    n = 2000
    paths = [f"/data/kinetics/train/class/{i:011d}_000001_000011.mp4" for i in range(n)]
    records = Records("train.csv", paths, range(n), range(n))
    assert len(pickle.dumps(records)) < n * (len(paths[0]) + 24) + 2000
    actions = [[(k, 0.5 * k, 9.0) for k in range(7)]] * n
    records = MultiLabelRecords("train.csv", paths, actions, range(n), 157, lengths=[30.0] * n)
    assert len(pickle.dumps(records)) < n * (len(paths[0]) + 24 + 7 * 12) + 2000
    held = [v for v in vars(records).values() if isinstance(v, list | dict)]
    assert not held
    assert np.flatnonzero(records.label(5)).tolist() == list(range(7))
