"""What a prediction looks like: the film, the page, and what the page says of the memory."""

from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from browser import assert_loads, needs_browser
from trained_nets import NAMES, write_checkpoint

from cmvl.data.decode import open_video, probe
from cmvl.report.explain import explain
from cmvl.report.film import fit, font
from cmvl.report.overlay import Overlay, Panel, Track, of_video, write_overlay
from cmvl.report.predict import load_predictor
from cmvl.report.predict_job import Job, run_job
from cmvl.report.trained import load_trained
from cmvl.report.videos import Source, read_videos
from cmvl.utils.errors import UserError, VideoError

from video_files import pictures, write_video

SLOWFAST = "MODEL.BACKBONE SlowFast SLOWFAST.ALPHA 2 SLOWFAST.BETA_INV 2".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seen")
    write_video(folder / "a, b.mp4", pictures(30, seed=1), fps=6)
    write_video(folder / "tall.mp4", pictures(12, 98, 35, seed=2), pix_fmt="yuv444p")
    write_checkpoint(folder / "net.pyth")
    return folder


def looked_at(folder, name, opts=()):
    weights = write_checkpoint(folder / f"net{len(opts)}.pyth", opts)
    predict = load_predictor(weights)
    (footage,) = read_videos(predict.trained.cfg, [Source(str(folder / name))])
    return predict, footage, predict.trained.encode(footage.clips)


def test_film(folder, tmp_path):
    predict = load_predictor(folder / "net.pyth")
    for name, size in (("a, b.mp4", (480 + 144, 640)), ("tall.mp4", (640 + 144, 640))):
        out = tmp_path / name
        write_overlay(out, of_video(predict(folder / name)), str(folder / name))
        before, after = probe(folder / name), probe(out)
        assert (after.frames, after.fps) == (before.frames, before.fps)
        assert (after.height, after.width) == size
    with open_video(folder / "a, b.mp4") as source, open_video(tmp_path / "a, b.mp4") as film:
        ((_, frame),), ((_, seen),) = source.frames([7]), film.frames([7])
    # The picture is the video's own, ten times larger.
    assert np.abs(seen[5:480:10, 5::10].astype(int) - frame).mean() < 8
    assert seen[480:].std() > 15  # and there are letters and bars under it


def panel(scores, time):
    track = Track("now", "", np.array([0.0, 1.0, 2.0]), np.array(scores))
    drawn = Panel(Overlay([track], None, ["one", "two"]), 640, 2.0)
    return drawn.under(np.zeros((10, 640, 3), np.uint8), time)[10:]


def test_panel_tells_the_moment():
    rows = [[0.9, 0.1], [0.2, 0.8]]
    early, late = panel(rows, 0.5), panel(rows, 1.5)
    assert np.abs(early.astype(int) - late).max() > 100
    bars = early[44:47, 12:628].astype(int).sum(axis=0)  # under the first name
    share = (np.abs(bars - bars[0]).sum(axis=1) < 60).mean()
    assert share == pytest.approx(0.9, abs=0.02)
    cursor = (early[-6:] == 255).all(axis=(0, 2)).nonzero()[0]
    assert cursor[0] == pytest.approx(640 / 4, abs=8)


def test_long_names_are_cut_to_fit():
    letters = font(12)
    assert fit("short", letters, 100) == "short"
    cut = fit("a very long name of a class", letters, 100)
    assert cut.endswith("…") and 80 < letters.getlength(cut) <= 100


def test_a_film_is_whole_or_not_there(folder, tmp_path):
    data = bytearray((folder / "a, b.mp4").read_bytes())
    data[len(data) // 2 : -2000] = bytes(len(data) - 2000 - len(data) // 2)
    (tmp_path / "bad.mp4").write_bytes(data)
    overlay = of_video(load_predictor(folder / "net.pyth")(folder / "a, b.mp4"))
    with pytest.raises(VideoError, match="bad.mp4"):
        write_overlay(tmp_path / "out.mp4", overlay, str(tmp_path / "bad.mp4"))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.mp4"]


def test_affinity_is_that_of_the_equation(folder):
    predict, footage, maps = looked_at(folder, "a, b.mp4", SLOWFAST)
    memories = explain(predict.trained, maps, 1, 0)
    assert [m.name for m in memories] == ["slow", "fast"]
    for p, found in enumerate(memories):
        memory = predict.trained.model.memory.interactions[p]
        X = maps[p][0].flatten(2).transpose(1, 2)  # (N, k, d)
        for n, m in ((0, 0), (0, 3), (2, 1)):
            with torch.no_grad():
                want = (memory.W_q(X[n]) @ memory.W_k(X[m]).T).mean()
            assert found.affinity[n, m] == pytest.approx(want.item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("task", ["classification", "multi_label"])
def test_pull_is_what_the_gate_adds(task, folder):
    """Over all channels: the logit with the gates less that with gates of 0.5."""
    predict, footage, maps = looked_at(folder, "a, b.mp4", ["TASK", task])
    model = predict.trained.model
    (found,) = explain(predict.trained, maps, 1, 2)
    x = maps[0][0].mean(dim=(2, 3, 4)).double()  # (N, d)
    w = model.head.projection.weight.double()
    logits = [((1 + gate) * x @ w.T).mean(dim=0) for gate in (torch.tensor(found.gates), 0.5)]
    if task == "classification":
        logits = [row - row.mean() for row in logits]
    assert found.pull.sum() == pytest.approx((logits[0] - logits[1])[2].item(), abs=1e-5)
    strongest = found.strongest(3)
    assert np.abs(found.pull[strongest]).min() >= np.sort(np.abs(found.pull))[-3]


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.text, self.pictures = [], [], 0

    def handle_starttag(self, tag, attributes):
        self.pictures += tag == "img"
        self.links += [v for k, v in attributes if k in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize(
    ("opts", "sections"),
    [
        (SLOWFAST, {"Who reads whom", "The gate"}),
        (["MEMORY.INTERACTION", "AveragePoolMemory"], {"The gate"}),
        (["MEMORY.INFUSION", "ResidualInfusion"], {"Who reads whom"}),
        (["MEMORY.INTERACTION", "NoMemory"], set()),
        (["TEST.PRECISION", "bfloat16"], {"Who reads whom", "The gate"}),
    ],
)
def test_page(opts, sections, folder, tmp_path):
    weights = write_checkpoint(tmp_path / "net.pyth", opts)
    video = Source(str(folder / "a, b.mp4"))
    list(run_job(load_trained(weights), [video], Job(html=tmp_path / "pages")))
    page = (tmp_path / "pages/a, b.html").read_text()
    reader = Reader()
    reader.feed(page)
    assert all(link.startswith(("data:", "#")) for link in reader.links)
    assert "http://" not in page.replace("http://www.w3.org", "") or "xlink" not in page
    text = " ".join(reader.text)
    for name in ("a, b.mp4", "Prediction", "Clips", "Over time", *sections, *NAMES):
        assert name in text
    for missing in {"Who reads whom", "The gate"} - sections:
        assert missing not in text
    assert reader.pictures == 4 + 1 + len(sections)  # filmstrips, curves and a drawing each


@needs_browser
def test_a_browser_loads_the_page_of_a_video(folder, tmp_path):
    weights = write_checkpoint(tmp_path / "net.pyth", SLOWFAST)
    video = Source(str(folder / "tall.mp4"))
    list(run_job(load_trained(weights), [video], Job(html=tmp_path / "page.html")))
    assert_loads((tmp_path / "page.html").read_text(encoding="utf-8"), tmp_path)


def test_places(folder, tmp_path):
    trained = load_trained(folder / "net.pyth")
    two = [Source(str(folder / name)) for name in ("a, b.mp4", "tall.mp4")]
    for job, why in (
        (Job(mp4=tmp_path / "x.mp4"), "one file for 2 videos; name a folder"),
        (Job(html=tmp_path / "x.html"), "one file for 2 videos; name a folder"),
        (Job(csv=tmp_path), "is a folder; name a file"),
        (Job(topk=0), "--topk is 0"),
        (Job(mp4=folder), "would overwrite .*a, b.mp4"),
    ):
        with pytest.raises(UserError, match=why):
            list(run_job(trained, two, job))
    same = [folder / "tall.mp4", tmp_path / "tall.mp4"]
    same[1].write_bytes(same[0].read_bytes())
    list(run_job(trained, [Source(str(p)) for p in same], Job(html=tmp_path / "pages")))
    assert len(list((tmp_path / "pages").iterdir())) == 2


def test_colours_go_to_the_classes_that_are_shown_first():
    """There are eight; of nine classes the least likely has none."""
    scores = np.full((3, 9), 0.01)
    scores[:, 0], scores[0, 8], scores[1:, 7], scores[2, 1] = 0.0, 0.9, 0.9, 0.4
    colours = Overlay([Track("", "", np.arange(4.0), scores)], None, "abcdefghi").colours()
    assert list(colours) == [7, 8, 1, 2, 3, 4, 5, 6] and len(set(colours.values())) == 8
