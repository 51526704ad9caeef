"""Cores that a container leaves, from the files of control groups."""

import math
import os

import pytest

from cmvl.utils import cores as found


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Writes files as under /sys/fs/cgroup; `own` is what the process is told of its groups."""
    monkeypatch.setattr(found, "GROUPS", tmp_path)
    monkeypatch.setattr(found, "OWN", tmp_path / "own")

    def write(own, files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text + "\n")

    return write


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {}, math.inf),
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        ("0::/\n", {"cpu.max": "250000 100000"}, 2.5),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "150000 50000"}, 3),
        ("0::/outside/it\n", {"cpu.max": "400000 100000"}, 4),
        (
            "3:cpuset:/\n2:cpu,cpuacct:/docker/x\n1:memory:/\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"},
            1.5,
        ),
        (
            "1:cpu:/docker/x\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            math.inf,
        ),
        (
            "1:cpu:/x\n",
            {"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"},
            0.5,
        ),
    ],
)
def test_quota(groups, own, files, quota):
    groups(own, files)
    assert found.quota() == quota


@pytest.mark.parametrize(("quota", "number"), [(math.inf, 32), (2.5, 3), (0.5, 1), (100, 32)])
def test_cores(monkeypatch, quota, number):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(32), raising=False)
    monkeypatch.setattr(found, "quota", lambda: quota)
    assert found.cores() == number


def test_without_control_groups(monkeypatch, tmp_path):
    monkeypatch.setattr(found, "OWN", tmp_path / "none")
    assert found.quota() == math.inf and found.cores() >= 1
