"""The doctor on a sound machine, on broken ones, and what it says of a run's surroundings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmvl.doctor import selftest
from cmvl.doctor.findings import BROKEN, OK
from cmvl.utils import environment

ROOT = Path(__file__).parent.parent


def doctor(*paths):
    places = os.pathsep.join(map(str, [*paths, ROOT]))
    return subprocess.run(
        [sys.executable, "-m", "cmvl.doctor"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": places},
        timeout=120,
    )


def test_a_sound_machine():
    result = doctor()
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    for what in ("torch ", "PyAV", "h264", "write two videos", "decode them", "a training step"):
        assert any(line.startswith(f"  ok       {what}") for line in lines), what
    assert "BROKEN" not in result.stdout


def test_a_torchvision_of_another_release(tmp_path):
    """The commonest broken installation cannot even import; the doctor says so, and how."""
    (tmp_path / "torchvision").mkdir()
    text = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(text)
    result = doctor(tmp_path)
    assert result.returncode == 1 and "see INSTALL.md" in result.stderr
    assert "BROKEN   imports" in result.stdout and "torchvision::nms" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_container_without_libraries_for_windows(tmp_path):
    text = "raise ImportError('libxcb.so.1: cannot open shared object file')"
    (tmp_path / "cv2.py").write_text(text)
    result = doctor(tmp_path)
    assert result.returncode == 1 and "opencv-python-headless" in result.stdout
    assert "BROKEN   opencv-python          ImportError: libxcb.so.1" in result.stdout


def test_a_decoder_that_gives_other_frames(tmp_path, monkeypatch):
    right = selftest._picture
    monkeypatch.setattr(selftest, "_picture", lambda video, k: right(video, k + 1))
    paths = [tmp_path / "0.mp4"]
    selftest._write(paths)
    monkeypatch.setattr(selftest, "_picture", right)
    with pytest.raises(RuntimeError, match="another frame"):
        selftest._decode(paths)


def test_the_first_broken_step_ends_the_self_test(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("no space")

    monkeypatch.setattr(selftest, "_decode", fail)
    found = list(selftest.self_test(tmp_path))
    assert [f.state for f in found] == [OK, BROKEN] and found[-1].text == "OSError: no space"


def test_a_missing_package(monkeypatch):
    monkeypatch.setattr(environment, "NEEDED", "torch no-such-package")
    found = environment.versions()
    assert found["no-such-package"] == "missing" and found["torch"][0].isdigit()


def test_the_command_can_be_given_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    words = [str(tmp_path / "tools" / "run_net.py"), "--cfg", "my file.yaml", "A", "[1,2]"]
    monkeypatch.setattr(sys, "argv", words)
    assert environment.command_line() == "python tools/run_net.py --cfg 'my file.yaml' A '[1,2]'"
