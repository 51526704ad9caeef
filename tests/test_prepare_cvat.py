"""Boxes drawn in CVAT become a data set in AVA's format, which trains."""

import csv
import zipfile

import numpy as np
import pytest
from list_tools import run_tool
from test_run_net import ROOT, run_net

from cmvl.data.ava_files import read_label_map
from cmvl.data.cvat_files import read_cvat
from cmvl.data.prepare_cvat import prepare_cvat
from cmvl.utils.errors import DataError

from video_files import write_frames, write_video

FPS, FRAMES, WIDTH, HEIGHT = 10, 45, 64, 48
# Walks from the left to the right, sits down at frame 20, is gone from frame 35 on.
WALK = [
    (0, (0, 8, 16, 40), 0, {"does": "walk", "waves": "false"}),
    (20, (32, 8, 48, 40), 0, {"does": "sit", "waves": "true"}),
    (35, (40, 8, 56, 40), 1, {"does": "sit", "waves": "true"}),
]
STILL = [(10, (50, 0, 70, 30), 0, {"does": "__undefined__", "waves": "false"})]
META = (
    "<meta><task><id>{id}</id><name>{name}</name><source>{source}</source><original_size>"
    "<width>{width}</width><height>{height}</height></original_size></task></meta>"
)


def track(boxes, every=False, extra=""):
    """As CVAT writes it: its key frames alone, or all that lie between as well."""
    boxes = [*boxes]
    if every:
        for (f, a, out, said), (g, b, *_) in zip(boxes, boxes[1:], strict=False):
            between = np.linspace(a, b, g - f + 1)[1:-1]
            boxes += [(f + i, box, out, said) for i, box in enumerate(between, 1)]
    lines = [f'<track id="0" label="person" source="manual"{extra}>']
    for f, box, out, said in sorted(boxes, key=lambda b: b[0]):
        corners = " ".join(
            f'{n}="{x:.2f}"' for n, x in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)
        )
        lines.append(
            f'<box frame="{f}" outside="{out}" occluded="0" keyframe="1" {corners} z_order="0">'
        )
        lines += [f'<attribute name="{k}">{v}</attribute>' for k, v in said.items()] + ["</box>"]
    return "\n".join([*lines, "</track>"])


def export(path, source="a.mp4", tracks=None, meta=META, width=WIDTH, height=HEIGHT):
    tracks = [track(WALK), track(STILL)] if tracks is None else tracks
    told = meta.format(id=1, name="shop", source=source, width=width, height=height)
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{told}'
    path.write_text(text + "".join(tracks) + "</annotations>\n")
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for name in ("a.mp4", "b.mp4"):
        write_video(folder / name, FRAMES, FPS)
    return folder


def rows(path):
    return [tuple(row) for row in csv.reader(path.open())]


def made(out):
    return rows(out / "annotations/train.csv") + rows(out / "annotations/val.csv")


@pytest.mark.parametrize(
    ("degrees", "around"),
    [
        (0, (10, 20, 50, 30)),
        (90, (25, 5, 35, 45)),
        (180, (10, 20, 50, 30)),
        (45, (30 - 25 / 2**0.5, 25 - 25 / 2**0.5, 30 + 25 / 2**0.5, 25 + 25 / 2**0.5)),
        (315, (30 - 25 / 2**0.5, 25 - 25 / 2**0.5, 30 + 25 / 2**0.5, 25 + 25 / 2**0.5)),
    ],
)
def test_a_turned_box_is_the_upright_one_around_it(degrees, around, tmp_path):
    box = track([(0, (10, 20, 50, 30), 0, {})]).replace("xtl=", f'rotation="{degrees}.00" xtl=')
    (task,) = read_cvat(export(tmp_path / "a.xml", tracks=[box]))
    np.testing.assert_allclose(task.tracks[0].boxes[0].corners, around)


@pytest.mark.parametrize("every", [False, True])
def test_a_key_frame_a_second(every, films, tmp_path):
    """Boxes move evenly between those that were drawn; actions last until others are set."""
    tracks = [track(WALK, every), track(STILL)]
    exports = [export(tmp_path / f"{n}.xml", f"{n}.mp4", tracks) for n in "ab"]
    said = prepare_cvat(list(map(str, exports)), str(films), str(tmp_path / "out"))
    assert "1 tasks have no box" not in said and "3 actions" in said
    labels = read_label_map(tmp_path / "out/annotations/actions.pbtxt")
    assert labels == {1: "sit", 2: "walk", 3: "waves"}
    for film in "ab":
        found = [row[1:] for row in made(tmp_path / "out") if row[0] == film]
        person = [
            (second, f"{left / WIDTH:.6f}", f"{8 / HEIGHT:.6f}", f"{(left + 16) / WIDTH:.6f}",
             f"{40 / HEIGHT:.6f}", action, "0")
            for second, left, action in (
                ("0000", 0, "2"), ("0001", 16, "2"), ("0002", 32, "1"), ("0002", 32, "3"),
                ("0003", 32, "1"), ("0003", 32, "3"),
            )
        ]  # fmt: skip
        # Until it is gone it stands where it was drawn last, as in CVAT.
        if every:
            moved = 32 + 8 * 10 / 15
            person[4:] = [
                (p[0], f"{moved / WIDTH:.6f}", *p[2:3], f"{(moved + 16) / WIDTH:.6f}", *p[4:])
                for p in person[4:]
            ]
        still = ("0001", f"{50 / WIDTH:.6f}", "0.000000", "1.000000", f"{30 / HEIGHT:.6f}", "", "1")
        close = lambda row: (row[0], *(round(float(x), 3) for x in row[1:5]), *row[5:])  # noqa: E731
        assert sorted(map(close, found)) == sorted(map(close, [*person, still]))


def test_tasks_of_one_video_stay_together(films, tmp_path):
    """Jobs of a long video are exported one by one; it is not to be trained on and tested."""
    (tmp_path / "films").mkdir()
    for n in "ab":
        (tmp_path / "films" / f"{n}.mp4").symlink_to(films / "a.mp4")
    parts = [
        ("a", WALK),
        ("a", STILL),
        ("a", [(30, (0, 0, 9, 9), 0, {"does": "walk"})]),
        ("b", WALK),
    ]
    exports = [
        str(export(tmp_path / f"{i}.xml", f"{n}.mp4", [track(boxes)]))
        for i, (n, boxes) in enumerate(parts)
    ]
    for seed in range(4):
        out = tmp_path / str(seed)
        said = prepare_cvat(exports, str(tmp_path / "films"), str(out), seed=seed)
        videos = [{row[0] for row in rows(out / f"annotations/{s}.csv")} for s in ("train", "val")]
        assert sorted(map(sorted, videos)) == [["a"], ["b"]] and "left out" not in said
    assert {row[1] for row in made(out) if row[0] == "a"} == {"0000", "0001", "0002", "0003"}


def test_attributes_that_are_asked_for(films, tmp_path):
    exports = [str(export(tmp_path / f"{n}.xml", f"{n}.mp4")) for n in "ab"]
    prepare_cvat(exports, str(films), str(tmp_path / "out"), ["waves"])
    assert read_label_map(tmp_path / "out/annotations/actions.pbtxt") == {1: "waves"}
    assert {row[6] for row in made(tmp_path / "out")} == {"", "1"}
    with pytest.raises(DataError, match="not one box has an action by the attribute gone"):
        prepare_cvat(exports, str(films), str(tmp_path / "out"), ["gone"])


def test_without_attributes_the_label_is_the_action(films, tmp_path):
    bare = [track([(f, box, out, {}) for f, box, out, _ in WALK])]
    exports = [str(export(tmp_path / f"{n}.xml", f"{n}.mp4", bare)) for n in "ab"]
    prepare_cvat(exports, str(films), str(tmp_path / "out"))
    assert read_label_map(tmp_path / "out/annotations/actions.pbtxt") == {1: "person"}


def test_a_project_in_a_zip_with_subsets(films, tmp_path):
    """Its tracks say of which task they are; a folder of exports is one too."""
    task = "<task><id>{}</id><name>{}</name><subset>{}</subset></task>"
    meta = "<meta><project><id>7</id><name>all</name><tasks>" + task.format(1, "a", "Validation")
    meta += task.format(2, "b", "Train") + "</tasks></project></meta>"
    tracks = [
        track(WALK, extra=' task_id="1" subset="Validation"'),
        track(STILL, extra=' task_id="2" subset="Train"'),
        track(WALK, extra=' task_id="2" subset="Train"'),
    ]
    inside = export(tmp_path / "annotations.xml", tracks=tracks, meta=meta)
    (tmp_path / "exports").mkdir()
    with zipfile.ZipFile(tmp_path / "exports/project.zip", "w") as archive:
        archive.write(inside, "annotations.xml")
    prepare_cvat([str(tmp_path / "exports")], str(films), str(tmp_path / "out"), share=0.01)
    assert {row[0] for row in rows(tmp_path / "out/annotations/train.csv")} == {"b"}
    assert {row[0] for row in rows(tmp_path / "out/annotations/val.csv")} == {"a"}


def test_a_share_of_the_videos_is_drawn(films, tmp_path):
    """Of those that have boxes on key frames; the draw is the seed's."""
    (tmp_path / "films").mkdir()
    for n in "abcdef":
        (tmp_path / "films" / f"{n}.mp4").symlink_to(films / "a.mp4")
    exports = [str(export(tmp_path / f"{n}.xml", f"{n}.mp4")) for n in "abcde"]
    late = track([(3, (0, 0, 9, 9), 0, {"does": "walk"}), (7, (0, 0, 9, 9), 1, {})])
    exports.append(str(export(tmp_path / "f.xml", "f.mp4", [late])))
    drawn = []
    for seed in range(8):
        out = tmp_path / str(seed)
        said = prepare_cvat(exports, str(tmp_path / "films"), str(out), share=0.8, seed=seed)
        assert "1 tasks have no box on a key frame and are left out" in said
        train, val = (
            {row[0] for row in rows(out / f"annotations/{name}.csv")} for name in ("train", "val")
        )
        assert len(train) == 4 and len(val) == 1 and train | val == set("abcde")
        drawn.append(val.pop())
    assert len(set(drawn)) > 1
    for share in (0.0, 1.0):
        with pytest.raises(DataError, match=f"--split {share}: expected the share"):
            prepare_cvat(exports, str(tmp_path / "films"), str(tmp_path / "out"), share=share)


def test_a_video_of_pictures_made_smaller(tmp_path):
    """Corners are of the size that was annotated."""
    for n in "ab":
        write_frames(tmp_path / "films" / n, FRAMES)
    exports = [
        str(export(tmp_path / f"{n}.xml", f"{n}.mp4", width=2 * WIDTH, height=2 * HEIGHT))
        for n in "ab"
    ]
    prepare_cvat(exports, str(tmp_path / "films"), str(tmp_path / "out"), fps=FPS)
    first = min(made(tmp_path / "out"))
    assert first[:6] == ("a", "0000", "0.000000", "0.083333", "0.125000", "0.416667")


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda text: text.replace("a.mp4", "gone.mp4"), "not under .* gone.mp4 or shop"),
        (lambda text: text.replace("<track", '<image id="0"/><track', 1), "CVAT for images"),
        (lambda text: text.replace("annotations>", "a>"), "expected <annotations>"),
        (lambda text: text[:-30], "cannot be read as CVAT's XML"),
        (lambda text: text.replace('xbr="16.00"', 'xbr="wide"', 1), "track 0: a <box> .* 'wide'"),
        (lambda text: text.replace('frame="0"', "", 1), "track 0: a <box> .*'frame'"),
        (lambda text: text.replace(">64<", ">200<"), "200 x 48, a.mp4 has 64 x 48"),
        (lambda text: text.replace("<track", '<track task_id="9"', 1), "of task '9'"),
    ],
)
def test_what_cannot_be_used_is_told(change, told, films, tmp_path):
    path = export(tmp_path / "a.xml")
    path.write_text(change(path.read_text()))
    other = export(tmp_path / "b.xml", "b.mp4")
    with pytest.raises(DataError, match=f"(?s){told}") as error:
        prepare_cvat([str(path), str(other)], str(films), str(tmp_path / "out"))
    assert str(path) in str(error.value) and not (tmp_path / "out").exists()


def test_two_videos_at_least(films, tmp_path):
    with pytest.raises(DataError, match="1 annotated videos: a training needs two"):
        prepare_cvat([str(export(tmp_path / "a.xml"))], str(films), str(tmp_path / "out"))
    with pytest.raises(DataError, match="nothing: expected an .xml or .zip file"):
        prepare_cvat([str(tmp_path / "nothing")], str(films), str(tmp_path / "out"))
    (tmp_path / "empty.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="empty.zip: cannot be read"):
        prepare_cvat([str(tmp_path / "empty.zip")], str(films), str(tmp_path / "out"))


def test_trains_in_both_stages(films, tmp_path):
    """From the tool's output and the configs for it, on small pictures and without weights."""
    exports = [export(tmp_path / f"{n}.xml", f"{n}.mp4") for n in "ab"]
    out = tmp_path / "boxes"
    places = "--annotations", *exports, "--videos", films, "--out", out
    done = run_tool("prepare_data.py", "cvat", *places, "--split", 0.5)
    told = f"train with DATA.PATH_TO_DATA_DIR {out} AVA.FRAME_DIR {films} MODEL.NUM_CLASSES 3"
    assert done.stdout.splitlines()[-1] == f"3 actions; {told}"
    assert "train.csv: 5 boxes on 4 key frames of 1 videos; sit 2, walk 2, waves 2" in done.stdout
    small = told.removeprefix("train with ").split()
    small += (
        "TORCHVISION.WEIGHTS  NUM_GPUS 0 DATA.TRAIN_JITTER_SCALES [40,48] DATA.TRAIN_CROP_SIZE 40 "
        "DATA.TEST_CROP_SIZE 48 DATA_LOADER.NUM_WORKERS 0 SOLVER.MAX_EPOCH 1 TRAIN.BATCH_SIZE 2 "
        "SOLVER.WARMUP_EPOCHS 0 LOG_PERIOD 1"
    ).split(" ")
    one, two = tmp_path / "one", tmp_path / "two"
    base, cm = (ROOT / f"configs/your_data/R3D18_BOXES{n}.yaml" for n in ("", "_CM"))
    done = run_tool("check_data.py", "--cfg", base, *small)
    assert done.returncode == 0, done.stdout
    done = run_net("--cfg", base, *small, "OUTPUT_DIR", one)
    assert done.returncode == 0, done.stderr
    done = run_net("--cfg", cm, *small, "OUTPUT_DIR", two, "TRAIN.INIT_FROM", one)
    assert done.returncode == 0, done.stderr
    assert "2 videos x 5 clips" in done.stdout and "test  mAP" in done.stdout
