"""Official annotations of Kinetics, Charades, SSv1 and SSv2, frame lists, class folders."""

import json
import re

import numpy as np
import pytest
import torch

from cmvl.config import get_cfg
from cmvl.data import build_dataset
from cmvl.data.charades import FRAME_LIST, parse_actions, read_charades
from cmvl.data.decode import VideoInfo
from cmvl.data.prepare import prepare, write_list
from cmvl.data.prepare_sets import something_entries
from cmvl.data.something_files import EDITIONS
from cmvl.losses import VideoLoss
from cmvl.structures import collate
from cmvl.utils.errors import ConfigError, DataError

from video_files import write_frames, write_video

HEADER = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"


def cfg_for(folder, name, classes, **data):
    cfg = get_cfg()
    cfg.TRAIN.DATASET = cfg.TEST.DATASET = name
    cfg.TASK = "multi_label" if name.lower() == "charades" else "classification"
    cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES = str(folder), classes
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE = [40, 48], 32
    cfg.DATA.TEST_CROP_SIZE, cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = 32, 4, 2
    cfg.VIDEO.NUM_CLIPS, cfg.TEST.NUM_ENSEMBLE_VIEWS = 3, 2
    for key, value in data.items():
        cfg.DATA[key] = value
    return cfg


@pytest.mark.parametrize(
    "task, name, told",
    [
        ("classification", "Charades", "are for TASK multi_label: set that, or TRAIN.DATASET Fold"),
        ("multi_label", "Folder", "TASK classification: set that, or TRAIN.DATASET Charades or K"),
        ("detection", "kinetics", "for TASK classification or multi_label: set that, or TRAIN.DA"),
        ("multi_label", "Ava", "TRAIN.DATASET Ava are for TASK detection"),
    ],
)
def test_labels_of_another_task(task, name, told, tmp_path):
    cfg = cfg_for(tmp_path, name, 4)
    cfg.TASK = task
    with pytest.raises(ConfigError, match=re.escape(told)):
        build_dataset(cfg, "train")


def test_official_csv_has_one_label_a_video(kinetics):
    cfg = cfg_for(kinetics, "Kinetics", 2)
    cfg.TASK = "multi_label"
    with pytest.raises(DataError, match="train.csv: this official csv has one label a video"):
        build_dataset(cfg, "train")


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    """Official csvs, and files in class folders, in split folders and as pictures."""
    root = tmp_path_factory.mktemp("kinetics")
    (root / "train.csv").write_text(
        'label,youtube_id,time_start,time_end,split,is_cc\n"zumba, fast",-abc_1,3,13,train,0\n'
        "abseiling,xyz,120,130,train,0\nabseiling,lost,0,10,train,0\n"
    )
    (root / "validate.csv").write_text(
        '"label","youtube_id","time_start","time_end","split"\n'
        "abseiling,v1,0,10,val\nzumba, v2,1,11,val\n".replace("zumba,", '"zumba, fast",')
    )
    (root / "test.csv").write_text("youtube_id,time_start,time_end,split\nt1,0,10,test\n")
    for place in ("zumba, fast/-abc_1_000003_000013", "abseiling/xyz_000120_000130"):
        (root / place).parent.mkdir(exist_ok=True)
        write_video(root / f"{place}.mp4", 6)
    (root / "val").mkdir()
    write_video(root / "val" / "v1_000000_000010.mkv", 6)
    write_frames(root / "v2_000001_000011", 6)
    return root


def test_official_kinetics(kinetics):
    train = build_dataset(cfg_for(kinetics, "kinetics", 2), "train")  # PySlowFast's spelling
    rows = [(train.records.label(i), train.records.where(i)) for i in range(3)]
    assert rows == [(1, "train.csv:2"), (0, "train.csv:3"), (0, "train.csv:4")]
    assert train[0].clips.shape == (3, 3, 4, 32, 32)
    assert "train.csv:4: " in train[2].failures[0] and "lost_000000" in train[2].failures[0]
    val = build_dataset(cfg_for(kinetics, "Kinetics", 2), "val")
    assert [int(val[i].label) for i in (0, 1)] == [0, 1]
    assert val[1].clips.shape[1:] == (3, 4, 32, 32)
    with pytest.raises(DataError, match="test.csv: this official csv has no labels"):
        build_dataset(cfg_for(kinetics, "Kinetics", 2), "test")
    with pytest.raises(DataError, match="2 classes, 2 with a number, MODEL.NUM_CLASSES 400"):
        build_dataset(cfg_for(kinetics, "Kinetics", 400), "train")


def test_official_kinetics_with_classes_file(kinetics, tmp_path):
    (tmp_path / "train.csv").write_text((kinetics / "train.csv").read_text())
    (tmp_path / "classes.json").write_text('{"zumba, fast": 0, "abseiling": 1, "yoga": 2}')
    cfg = cfg_for(tmp_path, "Kinetics", 3, PATH_PREFIX=str(kinetics))
    assert [int(build_dataset(cfg, "train")[i].label) for i in (0, 1)] == [0, 1]
    (tmp_path / "classes.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"classes.json: expected every index 0\.\.0 once"):
        build_dataset(cfg, "train")
    (tmp_path / "classes.json").write_text("[1]")
    with pytest.raises(DataError, match="classes.json: expected"):
        build_dataset(cfg, "train")
    (tmp_path / "classes.json").unlink()
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end\na,b,x,1\n")
    with pytest.raises(DataError, match="train.csv:2: expected columns label,youtube_id"):
        build_dataset(cfg, "train")


@pytest.fixture(scope="module")
def charades(tmp_path_factory):
    """Two videos of 48 pictures at 24 a second, one encoded video, one without actions."""
    root = tmp_path_factory.mktemp("charades")
    row = '{},S,Kitchen,6,7,Yes,"A, b.",box,"He; she",{},{}\n'
    (root / "Charades_v1_train.csv").write_text(
        HEADER
        + row.format("AAAA1", "c001 0.00 0.50;c003 1.50 2.10", "2.00")
        + row.format("BBBB2", "", "2.00")
        + row.format("CCCC3", "c000 0.00 0.20", "2.00")
    )
    (root / "Charades_v1_test.csv").write_text(HEADER + row.format("AAAA1", "c002 1 2", "2.00"))
    for name in ("AAAA1", "BBBB2"):
        write_frames(root / "rgb" / name, 48, f"{name}-%06d.jpg")
    write_video(root / "rgb" / "CCCC3.mp4", 40, fps=20)
    return root


def test_official_charades(charades):
    cfg = cfg_for(charades, "Charades", 4, PATH_PREFIX=str(charades / "rgb"))
    train = build_dataset(cfg, "train")
    assert train.rule == "strided"
    item = train[0, 0]
    assert item.label.tolist() == [0, 1, 0, 1] and item.clip_labels.shape == (3, 4)
    assert train[1].label.tolist() == [0, 0, 0, 0]
    assert train[2].clips.shape == (3, 3, 4, 32, 32) and not train[2].failures
    batch = collate([train[0, 0], train[0, 1]])
    assert batch.labels.shape == (2, 4) and batch.clip_labels.shape == (2, 3, 4)
    assert batch.targets[1] is batch.clip_labels and batch.to("cpu").targets[1].shape == (2, 3, 4)
    for split in ("val", "test"):
        item = build_dataset(cfg, split)[0]
        assert item.label.tolist() == [0, 0, 1, 0] and item.clip_labels is None
    assert len(collate([item]).targets) == 1


def test_labels_of_clips(charades):
    """2 seconds of 48 frames: class 1 until frame 12, class 3 from frame 36 on."""
    records = read_charades(str(charades / "Charades_v1_train.csv"), 4, ("",))
    clips = np.array([[0, 6], [11, 14], [13, 20], [14, 36], [40, 47]])
    labels = records.clip_labels(0, clips, VideoInfo(48, 30.0, 1, 1))
    expected = [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    assert labels.tolist() == expected and labels.dtype == np.float32
    assert records.labels_of(0) == [1, 3]


def test_charades_frame_list(charades, tmp_path):
    lines = [FRAME_LIST]
    for k in range(48):
        labels = "1,3" if k == 20 else "1" if k <= 20 or k >= 40 else ""
        lines.append(f'AAAA1 0 {k} AAAA1/AAAA1-{k + 1:06d}.jpg "{labels}"')
    lines += [f'BBBB2 1 {k} BBBB2/BBBB2-{k + 1:06d}.jpg ""' for k in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    cfg = cfg_for(tmp_path, "charades", 4, PATH_PREFIX=str(charades / "rgb"))
    train = build_dataset(cfg, "train")
    records = train.records
    assert [records.where(i) for i in range(len(records))] == ["train.csv:2", "train.csv:50"]
    clips = np.array([[0, 19], [18, 20], [21, 39], [30, 40]])
    labels = records.clip_labels(0, clips, VideoInfo(48, 30.0, 1, 1))
    assert labels.tolist() == [[0, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert train[0].label.tolist() == [0, 1, 0, 1] and not train[0].failures
    assert "BBBB2: list says 40 frames, 48 on disk" in train[1].failures[0]


@pytest.mark.parametrize(
    "text, message",
    [
        ("id,length\n", "expected the columns of Charades_v1_train.csv"),
        (HEADER, "the list is empty"),
        (f"{FRAME_LIST}\n", "the list has a header and no frames"),
        (f"{FRAME_LIST}\na 0 0 a/my pic.jpg 1\n", "train.csv:2: expected 5 fields"),
        (f"{FRAME_LIST}\na 0 0 a/1.jpg x\n", 'train.csv:2: expected labels like "3,92", got x'),
        ("id,actions,length\na,c001 1,2\n", "train.csv:2: expected actions like 'c092 11.90"),
        ("id,actions,length\na,c001 1 2,\n", "train.csv:2: expected the video's length in sec"),
        ("id,actions,length\na,c001 1.2.0 2,3\n", "train.csv:2: expected actions like"),
        ("id,actions,length\na,c001 1 2,nan\n", "the video's length in seconds, got 'nan'"),
        ("id,actions,length\na,,2\n", "not one of 1 videos has a label"),
        ("id,actions,length\na,c009 1 2,3\n", "label 9 at train.csv:2, MODEL.NUM_CLASSES is 4"),
    ],
)
def test_charades_lists_that_cannot_be_used(text, message, tmp_path):
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(DataError) as error:
        read_charades(str(tmp_path / "train.csv"), 4, ("",))
    assert message in str(error.value)


def test_parse_actions():
    assert parse_actions("c092 11.90 21.20;c147 0.00 12.60", "x") == [
        (92, 11.9, 21.2),
        (147, 0, 12.6),
    ]
    assert parse_actions("", "x") == []


@pytest.fixture(scope="module")
def ssv1(tmp_path_factory):
    root = tmp_path_factory.mktemp("ssv1")
    name = "something-something-v1-{}.csv"
    (root / name.format("labels")).write_text("Holding something\nTurning something; slowly\n\n")
    (root / name.format("train")).write_text("10;Holding something\n7;Turning something; slowly\n")
    (root / name.format("validation")).write_text("10;Turning something; slowly\n")
    (root / name.format("test")).write_text("99\n")
    for video in ("10", "7"):
        write_frames(root / "20bn-something-something-v1" / video, 20)
    return root


def test_official_something_something(ssv1):
    prefix = str(ssv1 / "20bn-something-something-v1")
    cfg = cfg_for(ssv1, "SSv1", 2, PATH_PREFIX=prefix, RANDOM_FLIP=False)
    train = build_dataset(cfg, "train")
    assert [int(train[i].label) for i in (0, 1)] == [0, 1] and train.rule == "strided"
    assert not train[0].failures
    assert build_dataset(cfg, "test")[0].clips.shape == (6, 3, 4, 32, 32)
    cfg.DATA.CLIP_RULE = "segments"
    assert build_dataset(cfg, "val").rule == "segments"
    assert build_dataset(cfg, "test")[0].clips.shape == (6, 3, 4, 32, 32)
    cfg.DATA.RANDOM_FLIP = True
    with pytest.raises(DataError, match="set DATA.RANDOM_FLIP False"):
        build_dataset(cfg, "train")
    cfg.MODEL.NUM_CLASSES = 174
    with pytest.raises(DataError, match="labels.csv: 2 templates, MODEL.NUM_CLASSES is 174"):
        build_dataset(cfg, "val")


@pytest.mark.parametrize(
    "text, message",
    [
        ("1;Poking something\n", "train.csv:1: 'Poking something' in .* is none of the templates"),
        ("1\n", "train.csv:1: expected 'id;template', got '1'"),
    ],
)
def test_something_something_lists_that_cannot_be_used(text, message, ssv1, tmp_path):
    labels = "something-something-v1-labels.csv"
    (tmp_path / labels).write_text((ssv1 / labels).read_text())
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        build_dataset(cfg_for(tmp_path, "SSv1", 2, RANDOM_FLIP=False), "train")
    (tmp_path / labels).unlink()
    with pytest.raises(DataError, match="labels.csv: expected the official list of templates"):
        build_dataset(cfg_for(tmp_path, "SSv1", 2, RANDOM_FLIP=False), "train")


def write_ssv2(folder, prefix, **videos):
    """Lists of `videos`, and a file for each of train's."""
    labels = {"Holding something": "1", "Turning something, slowly": "0"}
    (folder / f"{prefix}labels.json").write_text(json.dumps(labels))
    for name, rows in videos.items():
        (folder / f"{prefix}{name}.json").write_text(json.dumps(rows))
    return folder


@pytest.mark.parametrize("prefix", ["something-something-v2-", ""])
def test_official_something_something_v2(prefix, tmp_path):
    """As both packages of the authors call the files."""
    rows = [
        {"id": "10", "label": "holding a cup", "template": "Holding [something]"},
        {"id": "7", "template": "Turning [something], slowly", "placeholders": ["a cup"]},
    ]
    write_ssv2(tmp_path, prefix, train=rows, validation=rows[1:])
    for row in rows:
        write_video(tmp_path / f"{row['id']}.webm", 20, codec="libvpx-vp9")
    cfg = cfg_for(tmp_path, "ssv2", 2, RANDOM_FLIP=False)
    train, test = build_dataset(cfg, "train"), build_dataset(cfg, "test")
    assert [int(train[i].label) for i in (0, 1)] == [1, 0] and not train[0].failures
    assert train.class_names == ["Turning something, slowly", "Holding something"]
    assert train.rule == "strided" and len(test) == 1
    assert train.records.where(1) == f"{prefix}train.json:2"
    cfg.DATA.RANDOM_FLIP = True
    with pytest.raises(DataError, match="set DATA.RANDOM_FLIP False"):
        build_dataset(cfg, "train")
    splits, classes = something_entries(EDITIONS["ssv2"], str(tmp_path))
    assert classes == {"Turning something, slowly": 0, "Holding something": 1}
    prepare(splits, classes, str(tmp_path), str(tmp_path / "lists"), write_list)
    again = build_dataset(cfg_for(tmp_path / "lists", "SSv2", 2, RANDOM_FLIP=False), "train")
    assert [int(again[i].label) for i in (0, 1)] == [1, 0] and not again[1].failures
    assert again.class_names == train.class_names


@pytest.mark.parametrize(
    "rows, message",
    [
        ([{"id": "1", "template": "Poking [it]"}], "train.json:1: 'Poking it' in .* is none of th"),
        ([{"id": "1"}], "train.json:1: expected a video's id and template, got {'id': '1'} in .*;"),
        (["1"], "train.json:1: expected a video's id and template, got '1'"),
        ({}, "train.json: expected a list in JSON, got dict"),
        ([], "train.json: the list is empty"),
    ],
)
def test_something_something_v2_that_cannot_be_used(rows, message, tmp_path):
    write_ssv2(tmp_path, "", train=rows)
    cfg = cfg_for(tmp_path, "SSv2", 2, RANDOM_FLIP=False)
    with pytest.raises(DataError, match=message):
        build_dataset(cfg, "train")
    (tmp_path / "train.json").write_text("[{]")
    with pytest.raises(DataError, match="train.json: expected a list in JSON .Expecting prop"):
        build_dataset(cfg, "train")
    (tmp_path / "train.csv").write_text(f'{FRAME_LIST}\n1 0 0 1/1_000001.jpg ""\n')
    with pytest.raises(DataError, match="train.csv: this is PySlowFast's frame list, which .*ssv2"):
        build_dataset(cfg, "train")
    (tmp_path / "train.csv").unlink()
    (tmp_path / "labels.json").unlink()
    with pytest.raises(DataError, match="something-something-v2-labels.json: expected .*No such f"):
        build_dataset(cfg, "train")


def test_class_folders(tmp_path):
    for split in ("train", "val"):
        for name in ("jump", "walk"):
            (tmp_path / split / name).mkdir(parents=True)
            write_video(tmp_path / split / name / "my video.mp4", 5)
    write_frames(tmp_path / "train" / "jump" / "frames", 5)
    (tmp_path / "train" / "walk" / "again").mkdir()
    write_video(tmp_path / "train" / "walk" / "again" / "my video.mp4", 5)
    cfg = cfg_for(tmp_path, "Folder", 2)
    train = build_dataset(cfg, "train")
    assert len(train) == 4 and [int(train[i].label) for i in range(4)] == [0, 0, 1, 1]
    assert train.records.where(0) == "train/jump/frames"
    assert train.records.where(2) == "train/walk/again/my video.mp4"
    assert not any(train[i].failures for i in range(4))
    with pytest.raises(DataError, match="test: no such folder; expected one folder for each class"):
        build_dataset(cfg, "test")
    (tmp_path / "val" / "fly").mkdir()
    with pytest.raises(DataError, match="val/fly: there is no such class in train"):
        build_dataset(cfg, "val")
    cfg.MODEL.NUM_CLASSES = 3
    with pytest.raises(DataError, match="train: 2 class folders, MODEL.NUM_CLASSES is 3"):
        build_dataset(cfg, "val")


def test_multi_label_loss_takes_both(charades):
    logits = torch.randn(2, 3, 4)
    video, clips = (
        torch.tensor([[0.0, 1, 0, 1], [1, 0, 0, 0]]),
        torch.randint(0, 2, (2, 3, 4)).float(),
    )
    bce = torch.nn.BCEWithLogitsLoss()
    expected = bce(logits, clips) + 0.5 * bce(logits.mean(1), video)
    torch.testing.assert_close(VideoLoss(bce, 0.5)(logits, video, clips)["loss"], expected)
