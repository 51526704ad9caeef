"""Windows along a long video: laid out by hand, scored as videos of their own, made into events."""

import base64
import csv
import dataclasses
import json
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from browser import assert_loads, needs_browser
from trained_nets import write_checkpoint

from cmvl.config import load_cfg
from cmvl.data.dataset import cut_clips
from cmvl.data.decode import VideoInfo, open_video, probe
from cmvl.inference import score_views
from cmvl.report import timeline_page as report_page
from cmvl.report.predict_job import Job, run_job
from cmvl.report.timeline import Event, Timeline, TimelinePredictor, lay_out
from cmvl.report.timeline_page import write_timeline_page
from cmvl.report.trained import load_trained
from cmvl.report.videos import Failure, Source
from cmvl.utils.errors import UserError

from video_files import pictures, write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    write_video(folder / "long.mp4", pictures(150, seed=3))
    write_checkpoint(folder / "net.pyth", ["TEST.NUM_SPATIAL_CROPS", "3"])
    return folder


def test_layout_by_hand():
    """10 frames a second, clips of 4 frames: windows of 20 frames every 10, of 3 clips and more."""
    layout = lay_out(60, 10.0, 4.0, 2.0, 1.0, 3)
    # 16 frames of room for 2 steps would be 8; the largest step that divides 10 is 5.
    assert layout.starts.tolist() == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]
    assert layout.windows == [(0, 4), (2, 6), (4, 8), (6, 10), (8, 12)]
    assert layout.spans.tolist() == [[0, 20], [10, 30], [20, 40], [30, 50], [40, 60]]


@pytest.mark.parametrize(
    ("length", "span", "window", "stride", "V"),
    [
        (1, 64, 7, 2, 10),
        (30, 64, 7, 2, 10),
        (3000, 64, 5, 20, 3),
        (97, 10, 3, 1, 4),
        (61, 4, 2, 1, 3),
    ],
)
def test_windows_cover_any_video(length, span, window, stride, V):
    layout = lay_out(length, 10.0, span, window, stride, V)
    assert layout.spans[0, 0] == 0 and layout.spans[-1, 1] == length
    sizes = {b - a for a, b in layout.windows}
    assert len(sizes) == 1 and sizes.pop() >= (V if length > window * 10 > span else 1)
    ends = layout.starts[[b - 1 for _, b in layout.windows]] + span
    assert (ends <= np.maximum(layout.spans[:, 1], span) + 1e-6).all()
    assert ends[-1] > length - np.diff(layout.starts).min(initial=stride * 10)
    assert {c for a, b in layout.windows for c in range(a, b)} == set(range(len(layout.starts)))


def test_a_window_is_a_video_of_its_own(folder):
    """Shared clips, one pass of the backbone each: the scores are those of the windows alone."""
    trained, path = load_trained(folder / "net.pyth"), folder / "long.mp4"
    predictor = TimelinePredictor(trained, 2.0, 1.0)
    seen = []
    trained.model.backbone.register_forward_hook(lambda m, x, y: seen.append(len(x[0])))
    timeline = predictor(Source(str(path)))
    layout = lay_out(150, 30.0, 8.0, 2.0, 1.0, 4)
    assert sum(seen) == 3 * len(layout.starts)
    indices = predictor.slide.rule.at(layout.starts, 150, 30.0)
    with open_video(path) as video:
        views = predictor.slide.transform.views(len(indices), video.info.height, video.info.width)
        clips = cut_clips(video, indices, views).unflatten(0, (-1, 3))
    want = [score_views(trained.model, clips[a:b], 8).mean(dim=(0, 1)) for a, b in layout.windows]
    np.testing.assert_allclose(timeline.scores, torch.stack(want).numpy(), atol=1e-6)
    assert timeline.times.tolist() == [[0, 2], [1, 3], [2, 4], [3, 5]]
    assert timeline.scores.std(axis=0).max() > 1e-4


def made(scores, several=False):
    times = np.array([[n, n + 2.0] for n in range(len(scores))])
    info, source = VideoInfo(10 * (len(scores) + 1), 10.0, 4, 4), Source("v")
    return Timeline(source, info, ["a", "b", ""], times, np.array(scores), several)


def test_events():
    rows = [[0.9, 0.1, 0], [0.7, 0.3, 0], [0.4, 0.5, 0.1], [0.1, 0.1, 0.8]]
    assert made(rows).events(0.5) == [
        Event("a", 0.0, 2.5, pytest.approx(0.8)),  # up to half-way to the next window's middle
        Event("b", 2.5, 3.5, 0.5),
        Event("2", 3.5, 5.0, 0.8),
    ]
    assert [e.name for e in made(rows).events(0.75)] == ["a", "2"]
    together = made([[0.9, 0.8, 0], [0.2, 0.9, 0]], several=True).events(0.5)
    assert together == [Event("a", 0.0, 1.5, 0.9), Event("b", 0.0, 3.0, pytest.approx(0.85))]
    assert made(rows).events(0.95) == []


def test_files_of_windows(folder, tmp_path):
    trained = load_trained(folder / "net.pyth")
    sources = [Source(str(folder / "long.mp4")), Source(str(folder / "gone.mp4"))]
    job = Job(window=2, threshold=0.1, json=tmp_path / "p.json", csv=tmp_path / "p.csv",
              mp4=tmp_path / "films", topk=1)  # fmt: skip
    results = list(run_job(trained, sources, job))
    assert isinstance(results[1], Failure) and "gone.mp4" in results[1].message
    (video,) = json.loads(job.json.read_text())["videos"]
    assert [w["start"] for w in video["windows"]] == [0, 1, 2, 3]  # half a window apart
    assert video["events"][0]["start"] == 0 and video["events"][-1]["end"] == 5
    with job.csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["score"]) for row in rows] == [e["score"] for e in video["events"]]
    assert f"0:05.0  {float(rows[-1]['score']):.3f}" in results[0]
    assert probe(job.mp4 / "long.mp4").frames == 150


def timeline_page(rows, path, source, threshold=0.5, several=False):
    """A page of these scores, how many pictures it has, its coloured blocks in percent."""
    trained = SimpleNamespace(cfg=load_cfg(None, []), path="net.pyth")
    result, film = made(rows, several), probe(source)
    info = dataclasses.replace(result.info, width=film.width, height=film.height)
    result = dataclasses.replace(result, source=Source(str(source)), info=info)
    write_timeline_page(path, trained, result, threshold)
    html = path.read_text(encoding="utf-8")
    blocks = re.findall(r"left:([\d.]+)%;width:([\d.]+)%", html)
    return html, html.count("data:image/jpeg"), [tuple(map(float, block)) for block in blocks]


def test_page_of_events(folder, tmp_path):
    rows = [[0.9, 0.1, 0], [0.7, 0.3, 0], [0.4, 0.5, 0.1], [0.1, 0.1, 0.8]]
    path, video = tmp_path / "pages/p.html", folder / "long.mp4"
    html, pictures, blocks = timeline_page(rows, path, video)
    assert "3 events: runs of windows in which a class is the best and scores 0.5 or" in html
    assert pictures == 3
    assert blocks == [(0, 50), (70, 30), (50, 20)]  # of 5 s; a for 2.5, then "2", then b
    assert html.index(">a</div>") < html.index(">2</div>") < html.index(">b</div>")
    assert "0:02.5 – 0:03.5</span><br>0.50 b" in html
    html, pictures, blocks = timeline_page(rows, path, video, threshold=0.95)
    assert "No window scores 0.95 or more" in html and (pictures, blocks) == (0, [])
    assert "Over time" in html


def test_page_shows_the_frame_in_the_middle_of_an_event(tmp_path):
    """Of 5 s, whose halves have a colour each."""
    red, blue = ([np.full((48, 64, 3), rgb, np.uint8)] * 25 for rgb in ((220, 0, 0), (0, 0, 220)))
    write_video(tmp_path / "v.mp4", np.stack(red + blue), fps=10)
    rows = [[0.9, 0.1, 0], [0.9, 0.1, 0], [0.1, 0.9, 0], [0.1, 0.9, 0]]
    html, _, blocks = timeline_page(rows, tmp_path / "p.html", tmp_path / "v.mp4")
    assert blocks == [(0, 50), (50, 50)]
    seen = [
        cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        for data in re.findall(r'data:image/jpeg;base64,([^"]+)', html)
    ]
    assert [picture.shape for picture in seen] == [(150, 200, 3)] * 2
    assert [int(picture.mean(axis=(0, 1)).argmax()) for picture in seen] == [2, 0]  # BGR


def test_page_of_very_many_events(folder, tmp_path, monkeypatch):
    """The best are pictured, all stand in their lane; classes beyond the lanes are named."""
    monkeypatch.setattr(report_page, "SHOWN", 2)
    monkeypatch.setattr(report_page, "LANES", 1)
    rows = [[0.9, 0, 0], [0, 0.6, 0], [0.8, 0, 0], [0, 0.7, 0]]
    html, pictures, blocks = timeline_page(rows, tmp_path / "p.html", folder / "long.mp4")
    assert "4 events" in html and "The 2 best are pictured." in html and pictures == 2
    assert len(blocks) == 2 and "in less of the video: b" in html
    both = [[0.9, 0.8, 0], [0.2, 0.9, 0]]
    _, pictures, _ = timeline_page(both, tmp_path / "p.html", folder / "long.mp4", several=True)
    assert pictures == 2


def test_pages_of_windows(folder, tmp_path):
    """By the tool: each video has its own, one that cannot be read has none."""
    trained = load_trained(folder / "net.pyth")
    sources = [Source(str(folder / "long.mp4")), Source(str(folder / "gone.mp4"))]
    job = Job(window=2, threshold=0.1, html=tmp_path / "pages")
    results = list(run_job(trained, sources, job))
    assert isinstance(results[1], Failure)
    assert [page.name for page in job.html.iterdir()] == ["long.html"]


@needs_browser
def test_a_browser_loads_the_page_of_windows(folder, tmp_path):
    html, *_ = timeline_page([[0.9, 0.1, 0]], tmp_path / "p.html", folder / "long.mp4")
    assert_loads(html, tmp_path)


def test_mistakes(folder):
    trained = load_trained(folder / "net.pyth", ["DATA.CLIP_RULE", "segments"])
    with pytest.raises(UserError, match="DATA.CLIP_RULE strided"):
        TimelinePredictor(trained, 2, 1)(Source(str(folder / "long.mp4")))
    with pytest.raises(UserError, match="--window -1"):
        lay_out(10, 10.0, 4.0, -1, 1, 3)
