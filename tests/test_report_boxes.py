"""Actions in the boxes of one's own video: what the data set would say, as CSV and mp4."""

import csv

import av
import cv2
import numpy as np
import pytest
import torch
from ava_data import COLOURS, FPS, HEIGHT, WIDTH, settings, write_ava
from torch import nn

from cmvl.config import load_cfg
from cmvl.data import build_dataset
from cmvl.data.decode import probe
from cmvl.inference import build_box_predictor
from cmvl.model import build_model
from cmvl.report.boxes import (
    draw_actions,
    find_persons,
    load_detector,
    predict_boxes,
    read_persons,
    write_actions,
)
from cmvl.structures import collate
from cmvl.tasks import find_task
from cmvl.utils.errors import DataError, UserError

TINY = (
    "DATA.NUM_FRAMES 4 DATA.SAMPLING_RATE 1 DATA.TEST_CROP_SIZE 32 RESNET.WIDTH_PER_GROUP 8 "
    "RESNET.STAGE_BLOCKS [1,1,1,1] VIDEO.NUM_CLIPS 3 MEMORY.INTERACTION AssociativeMemory "
    "AVA.KEYFRAME_RANGE [0,5]"
).split()
NAMES = {1: "red", 2: "green", 3: "blue"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes")
    write_ava(folder, train=1, val=1, seconds=6)
    (folder / "films").mkdir()
    with av.open(str(folder / "films/v0.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        for k in range(6 * FPS):
            frame = cv2.imread(str(folder / f"frames/v0/v0_{k + 1:06d}.png"))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        out.mux(stream.encode())
    return folder


@pytest.fixture(scope="module")
def made(folder):
    cfg = load_cfg(None, [*settings(folder), *TINY, "AVA.FRAME_DIR", str(folder / "films")])
    torch.manual_seed(0)
    model = build_model(cfg, find_task(cfg.TASK).head).eval()
    nn.init.normal_(model.head.projection.weight)
    film = folder / "films/v0.mp4"
    persons = read_persons(folder / "annotations/persons.csv", 0.8)
    return cfg, model, film, predict_boxes(cfg, model, film, *persons)


def test_same_as_the_data_set(made):
    cfg, model, _, actions = made
    dataset = build_dataset(cfg, "test")
    batches = (collate([dataset[i]]) for i in range(len(dataset)))
    want = list(build_box_predictor(cfg, "test")(model, batches))
    assert [found.second for found in actions] == [0, 1, 2, 3, 4, 5]
    for found, (scores, keyframe, _) in zip(actions, want, strict=True):
        np.testing.assert_allclose(found.scores, scores.numpy(), atol=1e-6)
        np.testing.assert_array_equal(found.boxes, keyframe.boxes.numpy())


def test_csv_and_mp4(made, tmp_path):
    _, _, film, actions = made
    write_actions(actions, "v0", NAMES, tmp_path / "actions.csv", 0.0)
    with (tmp_path / "actions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 2 * 3
    first = [float(row["score"]) for row in rows[:3]]
    assert first == sorted(first, reverse=True)
    assert {row["action"] for row in rows} == set(NAMES.values())
    draw_actions(actions, film, NAMES, tmp_path / "drawn.mp4", 0.0)
    info = probe(tmp_path / "drawn.mp4")
    assert (info.frames, info.height, info.width) == (6 * FPS, HEIGHT, WIDTH)
    empty = tmp_path / "plain.mp4"
    draw_actions([], film, NAMES, empty, 0.0)
    pictures = []
    for path in (tmp_path / "drawn.mp4", empty):
        with av.open(str(path)) as reader:
            pictures.append(next(reader.decode(video=0)).to_ndarray(format="rgb24"))
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 100


class BySight(nn.Module):
    """Finds the red figure as a person, everything else as a dog."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        wanted = torch.tensor(COLOURS[0])[:, None, None] / 255
        rows, columns = ((images[0] - wanted).abs().amax(0) < 0.2).nonzero().T
        box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        boxes = torch.stack([box, box]).float()
        return [{"boxes": boxes, "labels": torch.tensor([1, 18]), "scores": torch.ones(2) * 0.9}]


def test_people_are_found(folder):
    rows, frames = find_persons(folder / "films/v0.mp4", BySight(), 0.8)
    assert [second for _, second in frames.keys()] == [0, 1, 2, 3, 4, 5] and len(rows) == 6
    with (folder / "annotations/val.csv").open() as file:
        truth = {int(r[1]): r[2:6] for r in csv.reader(file) if r[6] == "1" and r[0] == "v0"}
    for frame, box in zip(rows.frames, rows.boxes, strict=True):
        second = frames.keys()[frame][1]
        assert np.abs(box - np.array(truth[second], float)).max() < 0.06
    with pytest.raises(DataError, match="nobody was found"):
        find_persons(folder / "films/v0.mp4", BySight(), 0.95)


def test_mistakes(folder, made, tmp_path, monkeypatch):
    cfg, model, film, _ = made
    (tmp_path / "other.csv").write_text("x,0001,0.1,0.1,0.2,0.2,,0.9\n")
    with pytest.raises(DataError, match="the boxes are of x; expected some of 'v0'"):
        predict_boxes(cfg, model, film, *read_persons(tmp_path / "other.csv", 0.5))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match="weights of the person detector are not there"):
        load_detector(torch.device("cpu"))
