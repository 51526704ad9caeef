"""Names of files with bytes that are no UTF-8, as old disks have them: from folders to a page."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trained_nets import TINY

from cmvl.config import load_cfg
from cmvl.data import build_dataset
from cmvl.data.disk import read_class_numbers
from cmvl.engine.setup import setup
from cmvl.utils.errors import ConfigError
from cmvl.utils.logging import logger, printable, setup_logging

from video_files import cut, write_video

ROOT = Path(__file__).parent.parent
CAFE, SHOWN = os.fsdecode(b"caf\xe9"), "caf\\udce9"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Two classes in folders, with a broken video of each split, and lists made of train's."""
    desk = tmp_path_factory.mktemp("names")
    try:
        (desk / CAFE).mkdir()
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    for split in ("train", "val", "test"):
        for folder in (desk / "data" / split / name for name in (CAFE, "stir")):
            folder.mkdir(parents=True)
            for i in range(2):
                write_video(folder / f"{CAFE}{i}.mp4", 20)
        cut(write_video(folder / f"{CAFE}x.mp4", 20), 0.5)
    return desk


def run(desk, tool, *arguments):
    command = [sys.executable, str(ROOT / "tools" / tool), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=desk, capture_output=True, env=environment, timeout=300)
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    return done.returncode, (done.stdout + done.stderr).decode()


def test_lists(desk):
    end, told = run(
        desk, "prepare_data.py", "folder", "--videos", "data/train", "--out", "lists",
        "--encode-to", "small", "--split", 1,
    )  # fmt: skip
    assert end == 0 and f"stir/{SHOWN}x.mp4: unreadable" in told and "train.csv: 4 of 5" in told
    assert read_class_numbers(str(desk / "lists/classes.json")) == {CAFE: 0, "stir": 1}
    assert os.fsencode(CAFE) in (desk / "lists/left_out.csv").read_bytes()
    opts = [*TINY, "TRAIN.DATASET", "Kinetics", "DATA.PATH_TO_DATA_DIR", str(desk / "lists")]
    data = build_dataset(load_cfg(None, [*opts, "MODEL.NUM_CLASSES", "2"]), "train")
    assert sorted(int(data[i].label) for i in range(4)) == [0, 0, 1, 1]
    assert data.class_names == [SHOWN, "stir"] and not data[0].failures


def test_a_run_and_what_comes_after_it(desk):
    (desk / "tiny.yaml").write_text("TASK: classification\n")
    opts = "TRAIN.DATASET Folder TEST.DATASET Folder DATA.PATH_TO_DATA_DIR data OUTPUT_DIR out "
    opts += "MODEL.NUM_CLASSES 2 TRAIN.BATCH_SIZE 6 SOLVER.MAX_EPOCH 1 TEST.SKIP_BROKEN True "
    opts += "TENSORBOARD.ENABLE True TENSORBOARD.NUM_VIDEOS 4"
    end, told = run(desk, "run_net.py", "--cfg", "tiny.yaml", *TINY, *opts.split())
    assert end == 0, told
    assert f"left out, unreadable:\n  test/stir/{SHOWN}x.mp4: " in told
    assert told in (desk / "out/stdout.log").read_text(encoding="utf-8")
    results = desk / "out/results"
    with (results / "per_class.csv").open(newline="") as file:
        assert sorted(row["name"] for row in csv.DictReader(file)) == [SHOWN, "stir"]
    with (results / "predictions.csv").open("rb") as file:
        assert os.fsencode(f"{CAFE}/{CAFE}0.mp4") in file.read()

    end, told = run(desk, "report.py", "out", "--out", "out/report.html")
    assert end == 0 and SHOWN in (desk / "out/report.html").read_text(encoding="utf-8")
    kept = ["--csv", f"{CAFE}.csv", "--html", f"{CAFE}.html", "--mp4", f"{CAFE}.mp4"]
    end, told = run(desk, "predict.py", "out", f"data/test/{CAFE}/{CAFE}0.mp4", *kept)
    assert end == 0 and f"data/test/{SHOWN}/{SHOWN}0.mp4" in told
    assert sorted(path.suffix for path in desk.glob(f"{CAFE}.*")) == [".csv", ".html", ".mp4"]
    end, told = run(desk, "extract_features.py", "out", f"data/test/{CAFE}", "--out", CAFE)
    assert end == 0 and sorted(os.listdir(desk / CAFE))[:2] == [f"{CAFE}0.npz", f"{CAFE}1.npz"]


def test_names_that_are_shown():
    assert (printable(CAFE), printable("café")) == (SHOWN, "café")


def test_the_log(tmp_path, capsys):
    setup_logging(tmp_path)
    logger.info("broken: %s", CAFE)
    assert capsys.readouterr().out.endswith(f"broken: {SHOWN}\n")
    assert (tmp_path / "stdout.log").read_text(encoding="utf-8").endswith(f"broken: {SHOWN}\n")


def test_an_output_folder(tmp_path):
    cfg = load_cfg(None, [*TINY, "OUTPUT_DIR", str(tmp_path / CAFE)])
    with pytest.raises(ConfigError, match=r"OUTPUT_DIR .*caf\\udce9: a name in UTF-8 is needed"):
        setup(cfg, "train")
    assert os.listdir(tmp_path) == []
