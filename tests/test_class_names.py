"""Names of classes: from the data set into the checkpoint."""

import json

import pytest
from ava_data import settings, write_ava

from cmvl.checkpoint.formats import read_checkpoint
from cmvl.config import load_cfg
from cmvl.data import build_dataset
from cmvl.engine.train import train
from cmvl.utils.errors import DataError

from video_files import write_video

NAMES = ["pour water", "stir", "cut"]
CHARADES = "id,actions,length\nv,c000 0.0 1.0,2.0\n"


def names(folder, dataset, classes=3, *opts):
    common = ["DATA.PATH_TO_DATA_DIR", str(folder), "MODEL.NUM_CLASSES", str(classes)]
    common += ["TRAIN.DATASET", dataset, "TEST.DATASET", dataset, "DATA.RANDOM_FLIP", "False"]
    return build_dataset(load_cfg(None, [*common, *opts]), "train").class_names


def write(folder, **files):
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.mark.parametrize("dataset", ["Kinetics", "SSv1", "SSv2"])
def test_lists(dataset, tmp_path):
    write(tmp_path, train__csv="a.mp4 2\n")
    assert names(tmp_path, dataset) == []
    write(tmp_path, classes__txt="\n".join(NAMES) + "\n")
    assert names(tmp_path, dataset) == NAMES
    write(tmp_path, classes__json=json.dumps({"b": 1, "c": 2, "a": 0}))
    assert names(tmp_path, dataset) == ["a", "b", "c"]


def test_names_of_other_classes_are_not_used(tmp_path, caplog):
    write(tmp_path, train__csv="a.mp4 2\n", classes__txt="one\ntwo\n")
    assert names(tmp_path, "Kinetics", 4) == []
    assert names(tmp_path, "Kinetics", 4) == []
    assert caplog.text.count("names of 2 classes, but MODEL.NUM_CLASSES is 4") == 1


def test_official_files(tmp_path):
    header = "label,youtube_id,time_start,time_end,split\n"
    write(tmp_path, train__csv=header + "stir,aaa,0,10,train\ncut,bbb,0,10,train\n")
    assert names(tmp_path, "Kinetics", 2) == ["cut", "stir"]
    write(tmp_path, train__csv=CHARADES)
    charades = ("Charades", 2, "TASK", "multi_label")
    assert names(tmp_path, *charades) == []
    write(tmp_path, Charades_v1_classes__txt="c001 Closing a door\nc000 Holding clothes\n")
    assert names(tmp_path, *charades) == ["Holding clothes", "Closing a door"]
    for text, told in (("c000 Holding\nClosing\n", ":2: expected"), ("c001 One\n", ": expected e")):
        write(tmp_path, Charades_v1_classes__txt=text)
        with pytest.raises(DataError, match=f"Charades_v1_classes.txt{told}"):
            names(tmp_path, *charades)
    (tmp_path / "train.csv").unlink()
    write(tmp_path, **{"something-something-v1-train__csv": "7;Push\n"})
    write(tmp_path, **{"something-something-v1-labels__csv": "Turn\nPush\n"})
    assert names(tmp_path, "SSv1", 2) == ["Turn", "Push"]


def test_folders(tmp_path):
    for name in NAMES:
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "a.mp4").touch()
    assert names(tmp_path, "Folder") == sorted(NAMES)


def test_label_map(tmp_path):
    write_ava(tmp_path, train=1, val=1, seconds=2)
    cfg = load_cfg(None, [*settings(tmp_path), "MODEL.NUM_CLASSES", "4"])
    expected = ["colour 1", "colour 2", "colour 3", ""]  # no name: not evaluated
    assert build_dataset(cfg, "train").class_names == expected
    cfg = load_cfg(None, [*settings(tmp_path), "AVA.LABEL_MAP_FILE", ""])
    assert build_dataset(cfg, "train").class_names == []


def test_checkpoint_carries_them(tmp_path):
    write_video(tmp_path / "a.mp4", 12)
    write(tmp_path, train__csv="a.mp4 0\na.mp4 1\n", classes__txt="stir\ncut\n")
    small = (
        "NUM_GPUS 0 TRAIN.BATCH_SIZE 2 TRAIN.EVAL_PERIOD 0 DATA.NUM_FRAMES 2 DATA.SAMPLING_RATE 2 "
        "DATA.TRAIN_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,32] RESNET.STAGE_BLOCKS [1,1,1,1] "
        "RESNET.WIDTH_PER_GROUP 4 SOLVER.MAX_EPOCH 1 SOLVER.WARMUP_EPOCHS 0 MODEL.NUM_CLASSES 2 "
        "DATA_LOADER.NUM_WORKERS 0 TEST.ENABLE False"
    ).split()
    paths = ["DATA.PATH_TO_DATA_DIR", str(tmp_path), "OUTPUT_DIR", str(tmp_path / "run")]
    train(load_cfg(None, [*small, *paths]))
    saved = read_checkpoint(tmp_path / "run/checkpoints/checkpoint_epoch_00001.pyth")
    assert saved["class_names"] == ["stir", "cut"]
