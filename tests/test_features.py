"""Features that are the test's own: through the head they give its logits and scores."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from trained_nets import TINY, write_checkpoint

from cmvl.config import load_cfg
from cmvl.data.dataset import cut_clips
from cmvl.data.decode import open_video
from cmvl.engine.test import test as run_test
from cmvl.inference import encode_views, infuse_views
from cmvl.report.features import Wanted, write_features
from cmvl.report.timeline import build_rule, build_transform
from cmvl.report.trained import load_trained
from cmvl.report.videos import Failure, Source, find_videos, read_videos
from cmvl.utils.errors import UserError

from video_files import pictures, write_video

ROOT = Path(__file__).parent.parent
VIEWS = "TEST.NUM_SPATIAL_CROPS 3 DATA.TEST_CROP_SIZE 64 SLOWFAST.ALPHA 2 SLOWFAST.BETA_INV 2"
TWO_PATHWAYS = [*VIEWS.split(), "MODEL.BACKBONE", "SlowFast"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    (folder / "videos").mkdir()
    write_video(folder / "videos/a, b.mp4", pictures(40, 80, 112, seed=1))
    write_video(folder / "videos/c.mp4", pictures(90, 80, 112, seed=2))
    (folder / "test.csv").write_text("videos/a, b.mp4,2\nvideos/c.mp4,1\n")
    write_checkpoint(folder / "net.pyth", TWO_PATHWAYS)
    return folder


def extract(folder, out, *videos, opts=(), **wanted):
    trained = load_trained(folder / "net.pyth", opts, device="cpu")
    sources = find_videos([str(folder / video) for video in videos])
    results = list(write_features(trained, sources, out, Wanted(**wanted)))
    return trained, results


def read(path):
    with np.load(path) as file:
        return dict(file)


def test_the_head_makes_the_tests_scores_of_them(folder, tmp_path):
    paths = ["DATA.PATH_TO_DATA_DIR", str(folder), "OUTPUT_DIR", str(tmp_path)]
    weights = ["TEST.CHECKPOINT_FILE_PATH", str(folder / "net.pyth")]
    run_test(load_cfg(None, [*TINY, *TWO_PATHWAYS, *paths, *weights]))
    trained, _ = extract(folder, tmp_path / "out", "test.csv", views=True)
    expected, head = read(tmp_path / "results/scores.npz"), read(tmp_path / "out/head.npz")
    for i, name in enumerate(("a, b.npz", "c.npz")):
        made = read(tmp_path / "out" / name)
        assert made["features"].shape[:3] == (4, 3, 4)  # clips, crops, 2 x 2 windows of 32 pixels
        assert made["path"] == expected["paths"][i] and made["label"] == expected["labels"][i]
        logits = torch.from_numpy(made["features"] @ head["weight"].T + head["bias"])
        scores = logits.softmax(-1).mean(dim=2).numpy()
        np.testing.assert_allclose(scores.mean(axis=1), expected["clip_scores"][i], atol=1e-5)
        np.testing.assert_allclose(scores.mean((0, 1)), expected["video_scores"][i], atol=1e-5)
        (footage,) = read_videos(trained.cfg, [Source(str(made["path"]))])
        maps = infuse_views(trained.model, encode_views(trained.model, footage.clips, 4), 3)
        want = trained.model.head.windows(maps)[0].unflatten(0, (4, 3))
        np.testing.assert_allclose(logits, want.detach(), atol=1e-5)
        np.testing.assert_allclose(made["times"], footage.times)
    assert head["class_names"][2] == made["label_name"] or made["label"] == 1


def test_kinds(folder, tmp_path):
    made = {}
    for kind in ("clip", "memory", "video"):
        extract(folder, tmp_path / kind, "videos/c.mp4", kind=kind)
        made[kind] = read(tmp_path / kind / "c.npz")
    D = read(tmp_path / "clip/head.npz")["weight"].shape[1]
    assert made["clip"]["features"].shape == made["memory"]["features"].shape == (4, D)
    # The gate, in (1, 2), is all the memory does.
    gate = made["memory"]["features"] / np.maximum(made["clip"]["features"], 1e-6)
    heard = gate[made["clip"]["features"] > 1e-3]
    assert heard.min() >= 1 - 1e-4 and heard.max() <= 2 + 1e-4 and heard.std() > 0.01
    mean = made["memory"]["features"].mean(axis=0, keepdims=True)
    np.testing.assert_allclose(made["video"]["features"], mean, atol=1e-6)
    assert made["video"]["times"].tolist() == [[0, 3]]
    assert (made["clip"]["fps"], made["clip"]["frames"], made["clip"]["label"]) == (30, 90, -1)


def test_along_a_long_video(folder, tmp_path):
    trained, _ = extract(folder, tmp_path, "videos/c.mp4", kind="clip", stride=0.5)
    made = read(tmp_path / "c.npz")
    # a clip of 8 frames every 15 frames
    starts = np.array([0, 15, 30, 45, 60, 75])
    np.testing.assert_allclose(made["times"], np.stack([starts, starts + 8], axis=1) / 30)
    indices = build_rule(trained).at(starts.astype(float), 90, 30.0)
    with open_video(folder / "videos/c.mp4") as video:
        views = build_transform(trained).views(6, 80, 112)
        clips = cut_clips(video, indices, views).unflatten(0, (6, 3))
    maps = encode_views(trained.model, clips, 4)
    want = trained.model.head.pooled(maps)[0].unflatten(0, (6, 3)).mean(dim=(1, 2))
    np.testing.assert_allclose(made["features"], want.detach(), atol=1e-5)


def test_windows_of_a_long_video(folder, tmp_path):
    extract(folder, tmp_path, "videos/c.mp4", kind="video", window=1.0, stride=1.0)
    made = read(tmp_path / "c.npz")
    assert made["times"].tolist() == [[0, 1], [1, 2], [2, 3]] and len(made["features"]) == 3
    assert made["features"].std(axis=0).max() > 1e-3


def test_tool(folder, tmp_path):
    (tmp_path / "bad.mp4").touch()
    command = [sys.executable, ROOT / "tools/extract_features.py", folder / "net.pyth"]
    command += [folder / "videos", tmp_path / "bad.mp4", "--out", tmp_path / "out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [*map(str, command), "--opts", "TEST.NUM_ENSEMBLE_VIEWS", "2"],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert result.returncode == 1 and "bad.mp4: expected a video file" in result.stderr
    assert result.stderr.endswith("1 of 3 videos could not be read\n")
    with (tmp_path / "out/index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["a, b.npz", "c.npz"]
    assert read(tmp_path / "out/c.npz")["features"].shape[0] == 2
    assert not list((tmp_path / "out").glob("*.part"))


@pytest.mark.parametrize("kind, stride", [("clip", 0.5), ("memory", 0.0), ("video", 0.0)])
def test_in_the_precision_of_a_test(kind, stride, folder, tmp_path):
    made = {}
    for precision in ("float32", "bfloat16"):
        opts = ["TEST.PRECISION", precision]
        extract(folder, tmp_path, "videos/c.mp4", opts=opts, kind=kind, stride=stride)
        made[precision] = read(tmp_path / "c.npz")["features"]
    apart = np.abs(made["bfloat16"] - made["float32"]).max() / np.abs(made["float32"]).max()
    assert made["bfloat16"].dtype == np.float32 and 1e-4 < apart < 0.05


def test_resume_leaves_what_is_there(folder, tmp_path):
    tmp_path.joinpath("c.npz").write_text("mine")
    _, results = extract(folder, tmp_path, "videos", resume=True)
    assert results[0] == "1 videos are there already" and len(results) == 2
    assert (tmp_path / "c.npz").read_text() == "mine" and (tmp_path / "a, b.npz").exists()
    _, results = extract(folder, tmp_path, "videos", "gone.mp4")
    assert isinstance(results[2], Failure) and read(tmp_path / "c.npz")["frames"] == 90


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"kind": "all"}, "clip | memory | video"),
        ({"stride": 1.0}, "take --kind clip"),
        ({"kind": "video", "stride": 1.0}, "--window goes with"),
        ({"kind": "clip", "window": 2.0, "stride": 1.0}, "--window goes with"),
        ({"kind": "video", "window": 2.0}, "--window goes with"),
    ],
)
def test_what_does_not_go_together(wanted, why, folder, tmp_path):
    with pytest.raises(UserError, match=why.replace("|", r"\|")):
        extract(folder, tmp_path, "videos", **wanted)
