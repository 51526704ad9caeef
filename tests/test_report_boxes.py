"""Actions in the boxes of one's own video: what the data set would say, as CSV and mp4."""

import csv
import json

import av
import cv2
import numpy as np
import pytest
import torch
from ava_data import COLOURS, FPS, HEIGHT, WIDTH, settings, write_ava
from torch import nn
from trained_nets import write_checkpoint

from cmvl.config import load_cfg
from cmvl.data import build_dataset
from cmvl.data.decode import probe
from cmvl.inference import build_box_predictor
from cmvl.model import build_model
from cmvl.report.box_film import draw_boxes, write_box_film
from cmvl.report.box_job import BoxPredictor
from cmvl.report.boxes import (
    Actions,
    find_persons,
    load_detector,
    predict_boxes,
    read_persons,
)
from cmvl.report.predict import VideoPredictor
from cmvl.report.predict_job import Job, run_job
from cmvl.report.trained import load_trained
from cmvl.report.videos import Failure, Source
from cmvl.structures import collate
from cmvl.tasks import find_task
from cmvl.utils.errors import DataError, UserError

from video_files import write_video

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


def test_film(made, tmp_path):
    _, _, film, actions = made
    drawn, plain = tmp_path / "drawn.mp4", tmp_path / "plain.mp4"
    write_box_film(drawn, actions, str(film), NAMES, 0.0)
    info = probe(drawn)
    assert (info.frames, info.fps) == (6 * FPS, FPS)
    assert (info.height, info.width) == (480, 640)  # ten times as large
    write_box_film(plain, [], str(film), NAMES, 0.0)
    pictures = []
    for path in (drawn, plain):
        with av.open(str(path)) as reader:
            pictures.append(next(reader.decode(video=0)).to_ndarray(format="rgb24").astype(int))
    changed = np.abs(pictures[0] - pictures[1]).max(axis=2) > 60
    for x1, y1, x2, y2 in actions[0].boxes * [640, 480, 640, 480]:
        edge = changed[round(y1) : round(y2), round(x1) : round(x1) + 3]
        assert edge.mean() > 0.8
        inside = changed[round(y2) - 12 : round(y2) - 6, round(x1) + 6 : round(x2) - 6]
        assert inside.mean() < 0.2


def test_film_of_a_variable_rate(tmp_path):
    """Of its six seconds only the last two have all frames; boxes are where their second is."""
    frames = [k for k in range(6 * FPS) if k >= 4 * FPS or k % FPS == 0]
    film = write_video(tmp_path / "a.mp4", len(frames), FPS, pts=frames)
    second = Actions(4, np.array([[0.2, 0.2, 0.8, 0.8]]), np.ones((1, 3)))
    pictures = []
    for actions in ([second], []):
        write_box_film(tmp_path / "drawn.mp4", actions, str(film), NAMES, 0.0)
        with av.open(str(tmp_path / "drawn.mp4")) as reader:
            pictures.append([f.to_ndarray(format="rgb24") for f in reader.decode(video=0)])
    differ = [np.abs(a.astype(int) - b).max() > 60 for a, b in zip(*pictures, strict=True)]
    shown = [frames[k] / FPS for k in np.flatnonzero(differ)]
    assert shown and min(shown) == 4 and max(shown) == pytest.approx(4.5, abs=1 / FPS)


def test_names_stay_in_the_picture():
    found = Actions(0, np.array([[0.9, 0.0, 1.2, 0.5]]), np.array([[0.9, 0.2, 0.7]]))
    picture = np.zeros((100, 300, 3), np.uint8)
    drawn = draw_boxes(picture, found, {1: "a long name", 2: "no", 3: "another"}, 0.5)
    assert not picture.any() and drawn.any()
    plates = (drawn.max(axis=2) > 60).sum(axis=1)
    assert (plates[2:30] > 50).all()  # two plates, left of the box's own place


@pytest.fixture(scope="module")
def net(folder, made):
    cfg, model, film, _ = made
    path = folder / "net.pyth"
    names = ["red", "green", "blue"]
    torch.save({"model_state": model.state_dict(), "cfg": cfg.dump(), "class_names": names}, path)
    return load_trained(path, ["AVA.DETECTION_SCORE_THRESH", "0.8"], device="cpu")


def test_job(net, folder, made, tmp_path):
    _, _, film, actions = made
    persons = str(folder / "annotations/persons.csv")
    other = tmp_path / "other, 1.mp4"
    other.write_bytes(film.read_bytes())
    job = Job(boxes=persons, csv=tmp_path / "out.csv", json=tmp_path / "out.json",
              mp4=tmp_path / "films", threshold=0.0)  # fmt: skip
    results = list(run_job(net, [Source(str(film)), Source(str(other))], job))
    assert "12 boxes, 36 actions in them" in results[0] and "red, in 6 seconds" in results[0]
    assert isinstance(results[1], Failure) and "boxes are of v0" in results[1].message
    with job.csv.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 2 * 3 and rows[0]["path"] == str(film)
    first = [float(row["score"]) for row in rows[:3]]
    assert first == sorted(first, reverse=True)
    assert first[0] == pytest.approx(actions[0].scores[0].max(), abs=1e-6)
    assert {row["name"] for row in rows} == set(NAMES.values())
    assert probe(tmp_path / "films/v0.mp4").frames == 6 * FPS
    (video,) = json.loads(job.json.read_text())["videos"]
    assert len(video["actions"]) == 36 and video["boxes"] == 12 and video["seconds"] == 6


def test_in_the_precision_of_a_test(net, folder, made):
    path, persons = net.path, str(folder / "annotations/persons.csv")
    half = load_trained(path, ["TEST.PRECISION", "bfloat16"], device="cpu")
    found = BoxPredictor(half, persons)(Source(str(made[2])))
    apart = max(np.abs(a.scores - b.scores).max() for a, b in zip(found, made[3], strict=True))
    assert 1e-4 < apart < 0.05


def test_jobs_that_do_not_go_together(net, folder, made, tmp_path):
    video = [Source(str(made[2]))]
    with pytest.raises(UserError, match="second by second"):
        list(run_job(net, video, Job(window=2)))
    with pytest.raises(UserError, match="see --boxes"):
        VideoPredictor(net)
    other = load_trained(write_checkpoint(tmp_path / "other.pyth"))
    with pytest.raises(UserError, match="leave --boxes out"):
        list(run_job(other, video, Job(boxes="")))


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


def test_people_are_found(folder, tmp_path):
    rows, frames = find_persons(folder / "films/v0.mp4", BySight(), 0.8)
    assert [second for _, second in frames.keys()] == [0, 1, 2, 3, 4, 5] and len(rows) == 6
    with (folder / "annotations/val.csv").open() as file:
        truth = {int(r[1]): r[2:6] for r in csv.reader(file) if r[6] == "1" and r[0] == "v0"}
    for frame, box in zip(rows.frames, rows.boxes, strict=True):
        second = frames.keys()[frame][1]
        assert np.abs(box - np.array(truth[second], float)).max() < 0.06
    frames = [k for k in range(6 * FPS) if k < 2 * FPS or k % FPS == 0]  # each at its time
    with av.open(str(folder / "films/v0.mp4")) as film:
        whole = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]
    kept = np.stack([whole[k] for k in frames])
    film = write_video(tmp_path / "v0.mp4", kept, FPS, options={"crf": "1"}, pts=frames)
    again, _ = find_persons(film, BySight(), 0.8)
    np.testing.assert_allclose(again.boxes, rows.boxes, atol=0.04)
    with pytest.raises(DataError, match="nobody was found"):
        find_persons(folder / "films/v0.mp4", BySight(), 0.95)


def test_mistakes(folder, made, tmp_path, monkeypatch):
    cfg, model, film, _ = made
    (tmp_path / "late.csv").write_text("v0,0902,0.1,0.1,0.2,0.2,,0.9\n")
    with pytest.raises(DataError, match="seconds 902 to 902, the video has seconds 0 to 5"):
        predict_boxes(cfg, model, film, *read_persons(tmp_path / "late.csv", 0.5))
    (tmp_path / "other.csv").write_text("x,0001,0.1,0.1,0.2,0.2,,0.9\n")
    with pytest.raises(DataError, match="the boxes are of x; expected some of 'v0'"):
        predict_boxes(cfg, model, film, *read_persons(tmp_path / "other.csv", 0.5))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match="weights of the person detector are not there"):
        load_detector(torch.device("cpu"))
