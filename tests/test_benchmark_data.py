"""The ways that are timed against each other give the same clips."""

import numpy as np
import pytest

from cmvl.benchmarks import data
from cmvl.benchmarks.videos import write_sample
from cmvl.data.decode import open_video


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("bench") / "a.mp4", 96, 128, 90)


@pytest.mark.parametrize("train", [True, False])
def test_ways_agree(sample, train):
    job = data.draw_job(5 if train else 0, 96, 128, 90, seed=0)
    job = data.Job(job.indices[:2, ::8], job.views[:2], train)
    ours = data.ours(str(sample), job).float()
    naive = (data.naive(str(sample), job) * 0.225 + 0.45) * 255
    assert naive.shape == ours.shape == (2 if train else 6, 3, 4, *naive.shape[-2:])
    assert (naive - ours).abs().mean() < 6
    data.floor(str(sample), job)
    with open_video(sample) as video:
        unique = np.unique(job.indices)
        same = data._cut(unique, video.read(unique), job).float()
    assert (same - ours).abs().mean() < 3


def test_table(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "SIZES", {"340x256": (48, 64)})
    monkeypatch.setattr(
        data, "ways", lambda: {"naive": data.floor, "ours": data.ours, "floor": data.floor}
    )
    selection = data.Selection(["340x256"], ["GOP 250", "prepared"], frames=70, seeds=1, repeats=1)
    rows = list(data.data_table(tmp_path, selection))
    assert [row["file"] for row in rows] == ["GOP 250"] * 3 + ["prepared"] * 2
    assert len(list(data.as_lines(rows))) == 2 + 5
    one = data.Selection(["340x256"], ["prepared"], ["training, N=5"])
    assert list(one.cells()) == [("340x256", "prepared", "training, N=5")]
    assert data.memory_growth(tmp_path, 10).startswith("10 opens: ")
