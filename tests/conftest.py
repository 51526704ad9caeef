"""Data that several tests share, made once per session."""

import fcntl
import os
import signal

# Before torch is imported: the test processes share the cores, and threads would fight for them.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

from cmvl.data.demo import write_demo
from cmvl.utils.logging import logger

# A shell starts what it runs in the background deaf to Ctrl-C, and the tests' processes inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def no_gpu(request):
    """Tests say the same on every machine: a GPU is there for tests/test_gpu.py alone."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.name != "test_gpu.py":
            patch.setenv("CUDA_VISIBLE_DEVICES", "")  # for the processes they start
            patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory):
    """A demo data set of a few videos: real mp4 files, lists in relation/ and events/.

    Test processes have it together: the first makes it. Nobody is to change it.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    folder = place / "demo_data"
    with (place / "demo_data.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_demo(folder, train=12, val=4, test=4)
    return folder


@pytest.fixture(autouse=True)
def restore_global_state():
    """Tests may seed, set threads and start logs as they like."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    handlers, propagate = logger.handlers, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
