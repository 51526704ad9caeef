"""One's own videos: the scores of a test, from a checkpoint alone; odd files; errors."""

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
from trained_nets import NAMES, TINY, write_checkpoint

from cmvl.config import load_cfg
from cmvl.engine.precision import allow_tf32
from cmvl.engine.test import test as run_test
from cmvl.inference import score_views
from cmvl.model import build_model
from cmvl.report.predict import load_predictor
from cmvl.report.predict_job import Job, run_job
from cmvl.report.trained import load_trained
from cmvl.report.videos import Failure, Source, find_videos, read_videos
from cmvl.tasks import find_task
from cmvl.utils.errors import CheckpointError, DataError, UserError, VideoError
from cmvl.utils.files import check_place

from video_files import pictures, write_frames, write_sound, write_video

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write_video(folder / "a, b c.mp4", pictures(40, seed=1))
    write_video(folder / "tall.mp4", pictures(30, 96, 40, seed=2), fps=6)
    write_video(folder / "one.mp4", 1)
    write_checkpoint(folder / "run/checkpoints/checkpoint_epoch_00001.pyth")
    return folder


@pytest.mark.parametrize(
    "opts",
    [
        "TEST.NUM_SPATIAL_CROPS 3",
        "TASK multi_label DATA.ENSEMBLE_METHOD max TEST.DATASET Charades",
        "MEMORY.INTERACTION NoMemory DATA.TEST_CROP_SIZE 40 TEST.CHUNK 2",
        "TEST.PRECISION bfloat16",
    ],
)
def test_scores_are_those_of_a_test(opts, folder, tmp_path):
    opts = opts.split()
    weights = write_checkpoint(tmp_path / "net.pyth", opts)
    if "multi_label" in opts:
        rows = ["id,path,frames,length,actions"]
        rows += [f'{i},"{name}.mp4",,1.0,c000 0 1' for i, name in enumerate(("a, b c", "tall"))]
    else:
        rows = ["a, b c.mp4,0", "tall.mp4,1"]
    (tmp_path / "test.csv").write_text("\n".join(rows) + "\n")
    paths = ["DATA.PATH_TO_DATA_DIR", tmp_path, "DATA.PATH_PREFIX", folder, "OUTPUT_DIR", tmp_path]
    test_opts = [*TINY, *opts, *map(str, paths), "TEST.CHECKPOINT_FILE_PATH", str(weights)]
    run_test(load_cfg(None, test_opts))
    predict = load_predictor(weights, device="cpu")
    with np.load(tmp_path / "results/scores.npz") as expected:
        for i, path in enumerate(expected["paths"]):
            result = predict(path)
            np.testing.assert_allclose(result.scores, expected["video_scores"][i], atol=1e-6)
            np.testing.assert_allclose(result.clips, expected["clip_scores"][i], atol=1e-6)
            assert result.clips.std(axis=0).max() > 1e-4  # clips differ at all


@pytest.mark.parametrize("allowed", [True, False])
def test_tensorfloat_is_as_in_a_test(allowed, folder):
    allow_tf32(not allowed)
    load_trained(folder / "run", ["MODEL.TF32", str(allowed)])
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is allowed


def test_alone_is_a_video_of_one_clip(folder):
    predict = load_predictor(folder / "run")
    (footage,) = read_videos(predict.trained.cfg, [Source(str(folder / "a, b c.mp4"))])
    result = predict.predict(footage)
    for n in range(4):
        alone = score_views(predict.trained.model, footage.clips[n : n + 1], 1)
        np.testing.assert_allclose(result.alone[n], alone[0].mean(dim=0).numpy(), atol=1e-6)
    assert np.abs(result.alone - result.clips).max() > 1e-4
    # 2 frames over 8; 4 clips from 0 to 3/4 of the 32 possible starts
    np.testing.assert_allclose(result.times[:2], [[0, 8 / 30], [8 / 30, 16 / 30]])
    assert result.top(1)[0][0] in NAMES and len(result.top()) == 3


def test_finding_videos(tmp_path, monkeypatch):
    for name in ("b/1.mp4", "a/1.mp4", "a/cover.jpg", "c/d/film 2.MKV", "notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    write_frames(tmp_path / "pictures", 2)
    found = [os.path.relpath(s.path, tmp_path) for s in find_videos([str(tmp_path)])]
    assert sorted(found) == ["a/1.mp4", "b/1.mp4", "c/d/film 2.MKV", "pictures"]
    frames = str(tmp_path / "pictures")
    assert find_videos([frames]) == [Source(frames)]
    lines = ["a/1.mp4", "b/1.mp4 3", "c/d/film 2.MKV,1", "pictures 2 0", "gone 7.mp4 5"]
    lines += ["b/1.mp4 3,1", 'pictures 2 "0,1"', 'a/1.mp4;""', ""]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    expected = [("a/1.mp4", -1), ("b/1.mp4", 3), ("c/d/film 2.MKV", 1), ("pictures", 0)]
    found = find_videos(["list.csv"])
    assert [(s.path, s.label) for s in found[:4]] == expected
    assert found[3].frames == 2 and found[4] == Source("gone 7.mp4", 5)
    several = [Source("b/1.mp4"), Source("pictures", frames=2), Source("a/1.mp4")]
    assert found[5:] == several  # of several labels none is the label
    monkeypatch.chdir("/")
    assert find_videos([str(tmp_path / "list.csv")])[0].path == str(tmp_path / "a/1.mp4")


@pytest.mark.parametrize("place", ["empty.csv", "gone.txt", "nothing"])
def test_nothing_to_predict(place, tmp_path):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "empty.csv").write_text("\n")
    with pytest.raises(DataError, match=place):
        find_videos([str(tmp_path / place)])


def predict_tool(*args):
    command = [sys.executable, str(ROOT / "tools/predict.py"), *map(str, args)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment |= {"PYTHONIOENCODING": "utf-8:strict"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_broken_videos_are_named_and_the_others_go_through(folder, tmp_path):
    (tmp_path / os.fsdecode(b"\xe9mpty.mp4")).touch()  # no UTF-8
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    out = tmp_path / "deep/out"
    videos = [folder / "a, b c.mp4", tmp_path, folder / "one.mp4", folder / "gone.mp4"]
    result = predict_tool(
        folder / "run", *videos, "--json", out / "p.json", "--csv", out / "p.csv", "--topk", 2,
        "--opts", "TEST.NUM_ENSEMBLE_VIEWS", 2,
    )  # fmt: skip
    assert result.returncode == 1 and "Traceback" not in result.stderr
    for name, why in (
        ("mpty.mp4", "found 0 bytes"),
        ("sound.mp4", "found streams of type audio"),
        ("text.mp4", "no video file"),
        ("gone.mp4", "nothing there"),
    ):
        assert any(name in line and why in line for line in result.stderr.splitlines())
    assert result.stderr.endswith("4 of 6 videos could not be read\n")
    assert "a, b c.mp4  (0:01.3, 40 frames)" in result.stdout
    told = json.loads((out / "p.json").read_text())
    assert [Path(video["path"]).name for video in told["videos"]] == ["a, b c.mp4", "one.mp4"]
    assert [Path(f["path"]).name for f in told["failed"]] == [
        "sound.mp4", "text.mp4", os.fsdecode(b"\xe9mpty.mp4"), "gone.mp4",
    ]  # fmt: skip
    video = told["videos"][0]
    assert len(video["clips"]) == 2 and len(video["top"]) == 2
    assert {"start", "end", "top", "alone"} == set(video["clips"][0])
    with (out / "p.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["path"] == str(folder / "a, b c.mp4")
    assert rows[0]["top1"] == video["top"][0]["name"] in result.stdout
    assert float(rows[0]["score1"]) == video["top"][0]["score"]


def told(folder, job, *places, opts=()):
    trained = load_trained(folder / "run", opts)
    return list(run_job(trained, find_videos([str(place) for place in places]), job))


def test_clips_on_the_console_and_in_the_csv(folder, tmp_path):
    job = Job(clips=True, csv=tmp_path / "clips.csv", topk=1)
    (text,) = told(folder, job, folder / "tall.mp4")
    assert len(text.splitlines()) == 1 + 1 + 1 + 4 and "0:00.0 - 0:00.2" in text
    with job.csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["start"] for row in rows][0] == "0.0" and len(rows) == 4
    assert list(rows[0]) == ["path", "start", "end", "top1", "score1", "alone_top1", "alone_score1"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_job_cut_short_leaves_what_it_has_done(workers, folder, tmp_path):
    job = Job(json=tmp_path / "p.json", csv=tmp_path / "p.csv", topk=1, workers=workers)
    sources = find_videos([str(folder / name) for name in ("one.mp4", "gone.mp4", "tall.mp4")])
    results = run_job(load_trained(folder / "run"), sources, job)
    with pytest.raises(KeyboardInterrupt):
        for i, _ in enumerate(results):
            if i == 1:
                results.throw(KeyboardInterrupt)
    said = json.loads(job.json.read_text())
    assert [Path(video["path"]).name for video in said["videos"]] == ["one.mp4"]
    assert [Path(video["path"]).name for video in said["failed"]] == ["gone.mp4"]
    assert len(job.csv.read_text().splitlines()) == 2


def test_going_on_with_what_a_file_has(folder, tmp_path, monkeypatch):
    """As if nothing had happened; a video that could not be read is tried again."""
    names = [str(folder / name) for name in ("one.mp4", "later.mp4", "tall.mp4")]
    sources, trained = find_videos(names), load_trained(folder / "run")
    place, job = {"json": tmp_path / "p.json", "csv": tmp_path / "p.csv"}, Job
    results = run_job(trained, sources, job(**place, resume=True))
    assert [next(results) for _ in range(2)][1].source.path == names[1]
    results.close()  # cut short
    (folder / "later.mp4").write_bytes((folder / "one.mp4").read_bytes())
    try:
        first, *others = run_job(trained, sources, job(**place, resume=True))
        assert first.startswith("1 of 3 videos are in ") and len(others) == 2
        anew = {"json": tmp_path / "q.json", "csv": tmp_path / "q.csv"}
        assert len(list(run_job(trained, sources, job(**anew)))) == 3
        assert len(list(run_job(trained, sources, job(**anew, resume=True)))) == 1
    finally:
        (folder / "later.mp4").unlink()
    for name in place:
        assert place[name].read_bytes() == anew[name].read_bytes()
    assert [v["path"] for v in json.loads(place["json"].read_text())["videos"]] == names
    for other in ({"topk": 1}, {"window": 2.0}):
        told = f"p.json: is of other weights or settings .{next(iter(other))}., so"
        with pytest.raises(UserError, match=told):
            list(run_job(trained, sources, job(**place, resume=True, **other)))
    other = load_trained(folder / "run", ["TEST.NUM_ENSEMBLE_VIEWS", "1"])
    with pytest.raises(UserError, match="p.json: is of other weights or settings"):
        list(run_job(other, sources, job(**place, resume=True)))
    place["json"].write_text("{")
    with pytest.raises(UserError, match="p.json: damaged, .*; leave --resume out to write it anew"):
        list(run_job(trained, sources, job(**place, resume=True)))
    with pytest.raises(UserError, match="--resume goes on with the file of --json"):
        list(run_job(trained, sources, job(resume=True)))


def test_the_file_is_written_now_and_then(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("cmvl.report.predict_job.KEPT", 0.0)
    job = Job(json=tmp_path / "p.json")
    sources = find_videos([str(folder / name) for name in ("one.mp4", "tall.mp4")])
    results = run_job(load_trained(folder / "run"), sources, job)
    next(results)
    assert not job.json.exists()
    next(results)
    assert len(json.loads(job.json.read_text())["videos"]) == 1
    results.close()


@pytest.mark.parametrize("tool", ["predict", "extract_features"])
def test_tools_tell_what_needs_less_memory(tool, folder, tmp_path, monkeypatch):
    def short(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    words = [tool, folder / "run", folder / "one.mp4"]
    words += ["--out", tmp_path] if tool == "extract_features" else []
    monkeypatch.setattr(sys, "argv", [*map(str, words)])
    monkeypatch.setattr("cmvl.report.trained.encode_views", short)
    with pytest.raises(SystemExit, match="(?s)error: out of memory with .* TEST.CHUNK below"):
        runpy.run_path(str(ROOT / f"tools/{tool}.py"), run_name="__main__")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_scheduler_that_ends_a_job_leaves_what_it_has_done(workers, folder, tmp_path):
    (tmp_path / "list.csv").write_text(f"{folder / 'tall.mp4'}\n" * 2000)
    command = [sys.executable, str(ROOT / "tools/predict.py"), folder / "run", "list.csv"]
    command += ["--json", "p.json", "--topk", "1", "--workers", str(workers)]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen([str(word) for word in command], **options) as job:
        try:
            job.stdout.readline()
            os.killpg(job.pid, signal.SIGTERM)  # as schedulers do
            _, told = job.communicate(timeout=240)
        finally:
            job.kill()
    assert told == "interrupted\n" and job.returncode == 128 + signal.SIGINT
    assert 0 < len(json.loads((tmp_path / "p.json").read_text())["videos"]) < 2000


def test_a_place_that_takes_no_file_is_told_before_the_work(folder, tmp_path):
    (tmp_path / "file").touch()
    work = run_job(
        load_trained(folder / "run"),
        find_videos([str(folder / "one.mp4")]),
        Job(json=tmp_path / "file/p.json"),
    )
    with pytest.raises(FileExistsError, match="/file'$"):
        next(work)
    assert check_place(Path("/dev/stdout")) is None


def test_workers_read_ahead_in_order(folder):
    names = [folder / name for name in ("one.mp4", "gone.mp4", "tall.mp4")]
    results = told(folder, Job(workers=2), *names)
    assert "one.mp4" in results[0] and "tall.mp4" in results[2]
    assert isinstance(results[1], Failure)


def test_workers_end_at_once_where_nobody_reads_on(folder):
    trained = load_trained(folder / "run")
    others = active_children()
    results = read_videos(trained.cfg, [Source(str(folder / "one.mp4"))] * 9, workers=2)
    next(results)
    workers = [child for child in active_children() if child not in others]
    results.close()
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL] * 2


def test_python_api_raises(folder):
    with pytest.raises(VideoError, match="gone.mp4: expected a video file, found nothing there"):
        load_predictor(folder / "run")(folder / "gone.mp4")


def test_checkpoints_that_do_not_fit(folder, tmp_path):
    run, video = folder / "run", folder / "one.mp4"
    with pytest.raises(CheckpointError, match="3.* in the file, .*5.* in the model"):
        load_trained(run, ["MODEL.NUM_CLASSES", "5"])
    with pytest.raises(CheckpointError, match="one.mp4: not a readable torch file"):
        load_trained(video)
    (tmp_path / "notes.md").write_text("# Notes\n")
    with pytest.raises(CheckpointError, match="notes.md: not a readable torch file") as caught:
        load_trained(tmp_path / "notes.md")
    assert "\n" not in str(caught.value) and "weights_only" not in str(caught.value)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_trained(tmp_path)
    bare = torch.load(run / "checkpoints/checkpoint_epoch_00001.pyth", weights_only=True)
    torch.save({"model_state": bare["model_state"]}, tmp_path / "bare.pyth")
    with pytest.raises(CheckpointError, match="bare.pyth: carries no config.*--cfg"):
        load_trained(tmp_path / "bare.pyth")
    foreign = {"model_state": bare["model_state"], "cfg": "MODEL:\n  ARCH: slow\n"}
    torch.save(foreign, tmp_path / "foreign.pyth")
    with pytest.raises(CheckpointError, match=r"foreign.pyth: its config is not one .*ARCH"):
        load_trained(tmp_path / "foreign.pyth")
    with pytest.raises(UserError, match="NUM_CLASES.*NUM_CLASSES"):
        load_trained(run, ["MODEL.NUM_CLASES", "5"])
    with pytest.raises(UserError, match="device nowhere"):
        load_trained(run, device="nowhere")


def test_config_and_names_from_files(folder, tmp_path):
    state = torch.load(folder / "run/checkpoints/checkpoint_epoch_00001.pyth", weights_only=True)
    torch.save({"model_state": state["model_state"]}, tmp_path / "bare.pyth")
    (tmp_path / "net.yaml").write_text(state["cfg"])
    trained = load_trained(tmp_path / "bare.pyth", cfg_file=str(tmp_path / "net.yaml"))
    assert trained.class_names == ["0", "1", "2"]
    kept = load_trained(folder / "run", cfg_file=str(tmp_path / "net.yaml"))
    assert kept.class_names == NAMES
    with pytest.raises(CheckpointError, match="one.mp4"):
        load_trained(folder / "one.mp4", cfg_file=str(tmp_path / "net.yaml"))
    (tmp_path / "names.json").write_text('{"c": 2, "a": 0, "b": 1}')
    trained = load_trained(folder / "run", class_file=str(tmp_path / "names.json"))
    assert trained.class_names == ["a", "b", "c"]
    (tmp_path / "names.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="names.txt: names of 2 classes, but the net has 3"):
        load_trained(folder / "run", class_file=str(tmp_path / "names.txt"))
    with pytest.raises(UserError, match="kinetics400: names of 400 classes, but the net has 3"):
        load_trained(folder / "run", class_file="kinetics400")
    wide = load_cfg(str(tmp_path / "net.yaml"), ["MODEL.NUM_CLASSES", "400"])
    net = {"model_state": build_model(wide, find_task(wide.TASK).head).state_dict()}
    torch.save(net, tmp_path / "bare.pyth")
    (tmp_path / "net.yaml").write_text(wide.dump())
    places = {"cfg_file": str(tmp_path / "net.yaml"), "class_file": "kinetics400"}
    names = load_trained(tmp_path / "bare.pyth", **places).class_names
    assert (names[0], names[290], names[-1]) == ("abseiling", "sharpening knives", "zumba")
