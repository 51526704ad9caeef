"""A run's folder used again with another config: what is refused, what is told, what stays."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from cmvl.checkpoint.folder import checkpoint_path, checkpoints
from cmvl.config import load_cfg
from cmvl.config.compare import check_resume, compare_net, compare_start
from cmvl.engine import test as testing
from cmvl.engine.setup import setup
from cmvl.engine.train import train
from cmvl.utils.errors import CheckpointError, ConfigError

CM = Path(__file__).parent.parent / "configs/demo/SLOWONLY_CM.yaml"
SMALL = (
    "DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40] "
    "RESNET.WIDTH_PER_GROUP 8 RESNET.STAGE_BLOCKS [1,1,1,1] SOLVER.MAX_EPOCH 1 TRAIN.BATCH_SIZE 20 "
    "SOLVER.WARMUP_EPOCHS 0 TRAIN.EVAL_PERIOD 0 TEST.NUM_ENSEMBLE_VIEWS 2 TEST.NUM_SPATIAL_CROPS 1 "
    "DATA_LOADER.NUM_WORKERS 0 NUM_GPUS 0"
).split()
RESIDUAL = "MEMORY.INFUSION FeatureGating -> ResidualInfusion"


@pytest.fixture(name="again", scope="module")
def a_run_and_again(demo_data, tmp_path_factory):
    """A run of one epoch, and a function for its folder: (job, options) -> what it says anew."""
    folder = tmp_path_factory.mktemp("run")
    data = ["DATA.PATH_TO_DATA_DIR", str(demo_data / "relation"), "OUTPUT_DIR", str(folder)]

    def again(job, *options):
        before = len(said.read_text()) if said.exists() else 0
        job(load_cfg(CM, [*data, *SMALL, *options]))
        return said.read_text()[before:]

    said = folder / "stdout.log"
    again(train)
    again.folder = folder
    return again


def files(folder):
    names = [folder / "config_train.yaml", folder / "log.jsonl", *folder.glob("checkpoints/*")]
    return {path: path.read_bytes() for path in names}


def test_another_net_is_refused(again):
    before = files(again.folder)
    with pytest.raises(ConfigError, match=f"another net .{RESIDUAL}.*choose another OUTPUT_DIR"):
        again(train, "MEMORY.INFUSION", "ResidualInfusion", "SOLVER.MAX_EPOCH", "2")
    assert files(again.folder) == before


def test_a_run_that_is_over_says_so_and_stays_as_it_is(again):
    before = files(again.folder)
    said = again(train, "SOLVER.BASE_LR", "5.0")
    assert "nothing to train: epoch 1 of SOLVER.MAX_EPOCH 1 is done" in said
    assert files(again.folder) == before


def test_another_run_does_not_go_among_its_checkpoints(again):
    """Of the two, the older one's would be the newest by their names."""
    before = files(again.folder)
    with pytest.raises(CheckpointError, match="AUTO_RESUME False wants a new OUTPUT_DIR"):
        again(train, "TRAIN.AUTO_RESUME", "False")
    assert files(again.folder) == before


def test_weights_in_another_net_are_told(again):
    said = again(
        testing.test, "MEMORY.INFUSION", "ResidualInfusion", "DATA.MEAN", "[0.0, 0.0, 0.0]"
    )
    assert "trained with other settings: DATA.MEAN [0.45, 0.45, 0.45] -> [0.0, 0.0, 0.0]" in said
    assert RESIDUAL in said
    assert "other settings" not in again(testing.test, "TEST.NUM_ENSEMBLE_VIEWS", "1")


def test_other_input_than_that_of_weights_to_start_from_is_told(again, tmp_path):
    start = ["OUTPUT_DIR", str(tmp_path), "TRAIN.INIT_FROM", str(again.folder)]
    again(train, *start, "MEMORY.INFUSION", "ResidualInfusion", "DATA.STD", "[1.0, 1.0, 1.0]")
    said = (tmp_path / "stdout.log").read_text()
    told = "the weights were trained with other settings: DATA.STD [0.225, 0.225, 0.225] -> [1.0"
    assert told in said and "MEMORY.INFUSION" not in said


def test_a_run_that_goes_on_otherwise_says_so(again):
    said = again(train, "SOLVER.BASE_LR", "0.01", "SOLVER.MAX_EPOCH", "2")
    assert "not as it began: SOLVER.BASE_LR 0.5 -> 0.01, SOLVER.MAX_EPOCH 1 -> 2\n" in said
    assert "or their labels, are others" not in said
    assert "BASE_LR: 0.01" in (again.folder / "config_train.yaml").read_text()
    log = (again.folder / "log.jsonl").read_text()
    assert log.count('"job": "train"') == 2


def test_a_list_that_has_shrunk_is_told(again, demo_data, tmp_path):
    """Within an epoch, of which the new list has nothing left: the run goes on with the next."""
    folder, lists = tmp_path / "run", tmp_path / "lists"
    shutil.copytree(again.folder, folder)
    newest = checkpoints(folder)[-1]
    state = torch.load(newest)
    epochs = state["epoch"] + 1
    torch.save(state | {"videos": 36}, checkpoint_path(folder, epochs, 36))
    lists.mkdir()
    for split in ("train", "val", "test"):
        rows = (demo_data / f"relation/{split}.csv").read_text().splitlines()[:8]
        (lists / f"{split}.csv").write_text("".join(f"{demo_data}/relation/{r}\n" for r in rows))
    goes_on = ["OUTPUT_DIR", str(folder), "SOLVER.MAX_EPOCH", str(epochs + 2)]
    again(train, *goes_on, "DATA.PATH_TO_DATA_DIR", str(lists))
    said = (folder / "stdout.log").read_text()
    assert "the training videos, or their labels, are others than when it was saved" in said
    steps = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    trained = [line["epoch"] for line in steps if line["kind"] == "train"]
    assert epochs + 1 not in trained and epochs + 2 in trained


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", ""),
        ("OUTPUT_DIR elsewhere NUM_GPUS 8 DATA_LOADER.NUM_WORKERS 1 TEST.ENABLE False", ""),
        ("VIDEO.CLIPS_AT_ONCE 2", ""),  # the gradients are the same
        ("MEMORY.INIT zero RESNET.ZERO_INIT_FINAL_BN False", ""),  # those weights have gone
        ("TRAIN.INIT_FROM a.pyth", "TRAIN.INIT_FROM '' -> a.pyth"),
        ("SOLVER.MAX_EPOCH 7 RNG_SEED 3", "RNG_SEED 0 -> 3, SOLVER.MAX_EPOCH 196 -> 7"),
    ],
)
def test_what_is_told_of_a_run_that_goes_on(options, told):
    said = check_resume(load_cfg().dump(), load_cfg(None, options.split()))
    assert said == (told and f"the run goes on, not as it began: {told}")


@pytest.mark.parametrize(
    ("option", "what", "its"),
    [
        ("TASK multi_label", "net", "weights"),
        ("MODEL.BACKBONE I3D", "net", "weights"),
        ("MEMORY.NORM layer", "net", "weights"),
        ("NONLOCAL.POOL [1,1,1]", "net", "weights"),
        ("MODEL.FREEZE ['head.*']", "optimizer", "momenta"),
        ("SOLVER.OPTIMIZING_METHOD adamw", "optimizer", "momenta"),
        ("SOLVER.ZERO_WD_1D_PARAM True", "optimizer", "momenta"),
        ("SOLVER.BACKBONE_LR_MULT 0.1", "optimizer", "momenta"),
    ],
)
def test_what_makes_another_run(option, what, its):
    told = f"another {what} .{option.split()[0]} .* -> .*its {its} would be taken"
    with pytest.raises(ConfigError, match=told):
        check_resume(load_cfg().dump(), load_cfg(None, option.split()))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("MEMORY.INTERACTION AssociativeMemory MODEL.NUM_CLASSES 3 TASK multi_label", ""),
        ("RESNET.ZERO_INIT_FINAL_BN False MEMORY.INIT zero SOLVER.MAX_EPOCH 3", ""),
        ("NONLOCAL.POOL [1,1,1]", "NONLOCAL.POOL [1, 2, 2] -> [1, 1, 1]"),
        ("TORCHVISION.WEIGHTS DEFAULT", "TORCHVISION.WEIGHTS '' -> DEFAULT"),
    ],
)
def test_what_is_told_of_weights_to_start_from(options, told):
    said = compare_start(load_cfg().dump(), load_cfg(None, options.split()))
    assert said == (told and f"the weights were trained with other settings: {told}")


def test_configs_of_other_versions():
    """Without a key that came later, or with one that has gone; or no config at all."""
    older = load_cfg().dump().replace("  INIT: uniform\n", "") + "GONE: 3\n"
    assert "INIT: uniform" not in older
    for text in (older, ""):
        assert check_resume(text, load_cfg()) == compare_net(text, load_cfg()) == ""


def test_an_output_dir_that_is_a_file(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ConfigError, match="OUTPUT_DIR .*run is a file: name a folder"):
        setup(load_cfg(None, ["NUM_GPUS", "0", "OUTPUT_DIR", str(tmp_path / "run")]), "train")
