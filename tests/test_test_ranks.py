"""A test gives the same numbers and files however many processes share its videos."""

import filecmp

import numpy as np
import pytest
import torch

from cmvl.config import load_cfg
from cmvl.engine.test import test as run_test
from cmvl.launch import Crew, launch
from cmvl.model import build_model
from cmvl.tasks import find_task

SMALL = (
    "DATA.TEST_CROP_SIZE 32 RESNET.WIDTH_PER_GROUP 8 TEST.NUM_ENSEMBLE_VIEWS 3 "
    "TEST.NUM_SPATIAL_CROPS 3 DATA_LOADER.NUM_WORKERS 0 NUM_GPUS 0 TRAIN.ENABLE False"
).split()


@pytest.fixture(scope="module")
def results(demo_data, tmp_path_factory):
    """Folders by number of processes: 7 videos, which no number of processes divides."""
    folder = tmp_path_factory.mktemp("ranks")
    source = demo_data / "relation"
    lines = [line for name in ("val", "test") for line in (source / f"{name}.csv").open()]
    lists = folder / "lists"
    lists.mkdir()
    (lists / "test.csv").write_text("".join(lines[:7]))
    for processes in (1, 2, 4):
        options = [
            *SMALL, "DATA.PATH_TO_DATA_DIR", lists, "DATA.PATH_PREFIX", source,
            "OUTPUT_DIR", folder / str(processes), "TEST.CHECKPOINT_FILE_PATH", folder / "net.pyth",
            "DIST.PROCESSES", processes,
        ]  # fmt: skip
        cfg = load_cfg("configs/demo/SLOWONLY_CM.yaml", list(map(str, options)))
        if processes == 1:
            torch.manual_seed(0)
            model = build_model(cfg, find_task(cfg.TASK).head)
            torch.save({"model_state": model.state_dict()}, folder / "net.pyth")
        launch(run_test, [cfg], Crew(processes, gpu=False))
    return {n: folder / str(n) / "results" for n in (1, 2, 4)}


@pytest.mark.parametrize("processes", [2, 4])
def test_files_are_the_same(results, processes):
    # Zip files hold dates, and the picture the run's name.
    names = {path.name for path in results[1].iterdir()} - {"scores.npz", "by_position.png"}
    assert {"summary.json", "predictions.csv", "per_class.csv", "confusion.csv"} <= names
    same, different, gone = filecmp.cmpfiles(results[1], results[processes], names, shallow=False)
    assert set(same) == names, (different, gone)
    ours = np.load(results[processes] / "scores.npz")
    for name, expected in np.load(results[1] / "scores.npz").items():
        assert np.array_equal(ours[name], expected), name
    assert len(ours["video_scores"]) == 7 and len(set(ours["paths"])) == 7
