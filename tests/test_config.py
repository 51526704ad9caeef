"""Configs: merging, checking, and what each mistake is told."""

import ast
import re
from pathlib import Path

import pytest

from cmvl.config import batch_plan, get_cfg, load_cfg
from cmvl.config.load import dump_cfg
from cmvl.config.values import CHOICES, ELEMENTS, LENGTHS, NESTED, RANGES, value_of
from cmvl.utils.errors import ConfigError

ROOT = Path(__file__).parent.parent


def keys_of(node, prefix=""):
    for name, value in node.items():
        if hasattr(value, "items"):
            yield from keys_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def write(path, text):
    path.write_text(text)
    return path


def test_later_sources_win(tmp_path):
    write(tmp_path / "a.yaml", "VIDEO: {NUM_CLIPS: 3}\nSOLVER: {BASE_LR: 1, MAX_EPOCH: 7}\n")
    write(tmp_path / "b.yaml", "_BASE_: a.yaml\nSOLVER: {MAX_EPOCH: 8}\n")
    child = write(tmp_path / "c.yaml", "_BASE_: b.yaml\nSOLVER: {WEIGHT_DECAY: 1e-5}\n")
    cfg = load_cfg(child, ["VIDEO.NUM_CLIPS", "5", "DATA.MEAN", "(0.1, 0.2, 0.3)"])
    assert cfg.VIDEO.NUM_CLIPS == 5
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_EPOCH) == (1.0, 8)
    assert cfg.SOLVER.WEIGHT_DECAY == 1e-5
    assert cfg.DATA.MEAN == [0.1, 0.2, 0.3]
    with pytest.raises(AttributeError):
        cfg.VIDEO.NUM_CLIPS = 1


def test_dump_loads_again(tmp_path):
    cfg = load_cfg(None, ["OUTPUT_DIR", "/x y/z", "VIDEO.NUM_CLIPS", "3"])
    dump_cfg(cfg, tmp_path / "sub" / "config.yaml")
    assert load_cfg(tmp_path / "sub" / "config.yaml") == cfg


@pytest.mark.parametrize(
    ("yaml", "opts", "told"),
    [
        (
            "VIDEO:\n  NUM_CLIP: 5",
            [],
            "f.yaml:2: unknown key VIDEO.NUM_CLIP; did you mean VIDEO.NUM_",
        ),
        (
            "MODEL: {CHANNELS_LAST: true}",
            [],
            "f.yaml:1: unknown key MODEL.CHANNELS_LAST; it is MODEL",
        ),
        ("MODEL: {ARCH: slow}", [], "f.yaml:1: unknown key MODEL.ARCH; PySlowFast's MODEL.ARCH is"),
        (
            "RESNET: {NUM_GROUPS: 1}\nDATA: {INPUT_CHANNEL_NUM: [3, 3]}",
            [],
            "f.yaml:1: unknown key RESNET.NUM_GROUPS; here that is 1: leave the line out\n",
        ),
        ("", ["SOLVER.FANCY", "8"], "unknown key SOLVER.FANCY; none is alike, see cmvl"),
        ("", ["TRIAN.BATCH_SIZE", "8"], "command line: unknown key TRIAN.BATCH_SIZE; did you mean"),
        (
            "TRAIN:\n\n  BATCH_SIZE: many",
            [],
            "f.yaml:3: TRAIN.BATCH_SIZE wants a value of type int",
        ),
        ("TRAIN: 3", [], "TRAIN is a group of keys"),
        ("", ["VIDEO.NUM_CLIPS"], "'VIDEO.NUM_CLIPS' has no partner"),
        ("", ["VIDEO.NUM_CLIPS", "0"], "VIDEO.NUM_CLIPS is 0; it must be 1 or more"),
        ("", ["VIDEO.NUM_CLIPS", "5", "TRAIN.BATCH_SIZE", "4"], "does not hold one video"),
        (
            "",
            ["MODEL.DROPOUT_RATE", "1.0"],
            "DROPOUT_RATE is 1.0; it must be from 0 to below 1",
        ),
        ("", ["SOLVER.BASE_LR", "-0.1"], "SOLVER.BASE_LR is -0.1; it must be 0 or more"),
        ("", ["DATA.TARGET_FPS", "0"], "DATA.TARGET_FPS is 0; it must be above 0"),
        ("", ["DATA.MEAN", "[0.5]"], "DATA.MEAN is [0.5]; it must have 3 elements"),
        ("", ["DATA.STD", "[1, 0, 1]"], "is [1, 0, 1]; it must have numbers above 0, not 0"),
        ("SOLVER: {LRS: [1, 1e-x]}", [], "is [1, '1e-x']; it must have numbers of 0 or more, not"),
        ("", ["MODEL.FREEZE", "[3]"], "it must have names, between quotes, not 3"),
        ("", ["RESNET.SPATIAL_STRIDES", "[[1], [1.5], [1], [1]]"], "of 1 or more, not 1.5"),
        ("", ["RESNET.STAGE_BLOCKS", "[[1], [1], [1], [1]]"], "of 1 or more, not [1]"),
        ("", ["VIDEO.STRATEGY", "both"], "it can be batch_reduction | multi_iteration"),
        (
            "BN: {CLIPWISE: False}",
            ["VIDEO.STRATEGY", "multi_iteration", "VIDEO.NUM_CLIPS", "5"],
            "BN.CLIPWISE False wants all 5 clips of a video in one pass",
        ),
        (
            "VIDEO: {NUM_CLIPS: 5}",
            ["VIDEO.CLIPS_AT_ONCE", "2"],
            "VIDEO.CLIPS_AT_ONCE 2 is for VIDEO.STRATEGY multi_iteration",
        ),
        ("", ["SOLVER.WARMUP_EPOCHS", "500.0"], "longer than SOLVER.MAX_EPOCH 196"),
        (
            "SOLVER: {WARMUP_EPOCHS: 1.0}",
            ["SOLVER.BASE_LR", "0.005"],
            "SOLVER.WARMUP_START_LR 0.01 is above SOLVER.BASE_LR 0.005: a warm-up rises, so set "
            "it to 0.0005, say",
        ),
        ("", ["SOLVER.OPTIMIZING_METHOD", "adam"], "it can be sgd | adamw"),
        (
            "SOLVER: {OPTIMIZING_METHOD: adamw}",
            ["SOLVER.BETAS", "[0.9, 1.0]"],
            "SOLVER.BETAS is [0.9, 1.0]; it must have numbers from 0 to below 1, not 1.0",
        ),
        ("", ["TRAIN.LABEL_SMOOTHING", "1.0"], "it must be from 0 to below 1"),
        (
            "TASK: multi_label",
            ["TRAIN.LABEL_SMOOTHING", "0.1"],
            "TRAIN.LABEL_SMOOTHING 0.1 is for TASK classification: set it to 0",
        ),
        (
            "TASK: detection",
            ["MIXUP.ENABLE", "True"],
            "TASK detection has those of boxes: set it to False",
        ),
        (
            "MIXUP: {ENABLE: True, ALPHA: 0}",
            ["MIXUP.CUTMIX_ALPHA", "0"],
            "wants a MIXUP.ALPHA or a MIXUP.CUTMIX_ALPHA above 0",
        ),
        (
            "VIDEO: {NUM_CLIPS: 5}",
            ["MIXUP.ENABLE", "True", "TRAIN.BATCH_SIZE", "6"],
            "TRAIN.BATCH_SIZE 6 with VIDEO.NUM_CLIPS 5 makes 1 video: set TRAIN.BATCH_SIZE to 10",
        ),
        ("", ["SOLVER.MOMENTUM", "0.0"], "SOLVER.NESTEROV True wants a SOLVER.MOMENTUM above 0"),
        (
            "SOLVER: {COSINE_AFTER_WARMUP: True}",
            ["SOLVER.WARMUP_EPOCHS", "196.0"],
            "wants epochs after SOLVER.WARMUP_EPOCHS",
        ),
        ("", ["AVA.KEYFRAME_RANGE", "[9,2]"], "must be [first, last] second, or []"),
        ("", ["SOLVER.LR_POLICY", "steps_with_relative_lrs"], "SOLVER.STEPS [] must rise from 0"),
        ("", ["DATA.TRAIN_CROP_SIZE", "300"], "does not fit into the smallest short side"),
        ("- a\n- b", [], "f.yaml:1: expected KEY: VALUE lines"),
        ("a: [", [], "not valid YAML"),
        ("OUTPUT_DIR: !!python/name:os.system", [], "not valid YAML: could not determine a con"),
        ("\nOUTPUT_DIR:\n", [], "f.yaml:2: OUTPUT_DIR wants a value of type str"),
        ("SOLVER: {STEPS: , LRS: [1]}", [], "f.yaml:1: SOLVER.STEPS wants a value of type list"),
        ("_BASE_: 3.5", [], "3.5: no such config file"),
        ("_BASE_: f.yaml", [], "leads back to the file itself"),
        ("_BASE_: gone.yaml", [], "gone.yaml: no such config file"),
    ],
)
def test_mistakes_are_told(tmp_path, yaml, opts, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_cfg(write(tmp_path / "f.yaml", yaml), opts)


def test_a_file_in_another_encoding(tmp_path):
    (tmp_path / "f.yaml").write_text("OUTPUT_DIR: é", encoding="utf-16")
    with pytest.raises(ConfigError, match="f.yaml: this is no text in UTF-8: save it"):
        load_cfg(tmp_path / "f.yaml")
    (tmp_path / "f.yaml").write_text("OUTPUT_DIR: é", encoding="utf-8-sig")
    assert load_cfg(tmp_path / "f.yaml").OUTPUT_DIR == "é"


def test_numbers_that_yaml_takes_for_texts(tmp_path):
    """In a list as alone: a schedule would fail at its last stage, after days."""
    rates = "SOLVER: {LRS: [1, 0.1, 1e-2, 1.5E3, .5e-3, 1.e+0], WEIGHT_DECAY: 1e-5}"
    solver = load_cfg(write(tmp_path / "f.yaml", rates)).SOLVER
    assert list(solver.LRS) == [1, 0.1, 0.01, 1500.0, 0.0005, 1.0] and solver.WEIGHT_DECAY == 1e-5
    assert load_cfg(None, ["MODEL.FREEZE", "['1e', 'e5', '.e5']"]).MODEL.FREEZE[2] == ".e5"


def test_weights_of_a_run_whose_warm_up_fell_stay_of_use():
    fell = ["SOLVER.WARMUP_EPOCHS", "1.0", "SOLVER.BASE_LR", "0.005"]
    assert load_cfg(None, [*fell, "TRAIN.ENABLE", "False"]).SOLVER.WARMUP_START_LR == 0.01


def test_settings_of_sgd_are_nothing_to_adamw():
    load_cfg(None, ["SOLVER.OPTIMIZING_METHOD", "adamw", "SOLVER.MOMENTUM", "0.0"])


def test_switches_in_yamls_words():
    cfg = load_cfg(None, ["TRAIN.ENABLE", "false", "BN.SYNC", "true"])
    assert cfg.TRAIN.ENABLE is False and cfg.BN.SYNC is True


def test_home_is_found(tmp_path, monkeypatch):
    """In a file and on the command line; or a folder named ~ would be made, to be removed."""
    monkeypatch.setenv("HOME", "/home/me")
    file = write(tmp_path / "f.yaml", "OUTPUT_DIR: ~/runs/a")
    cfg = load_cfg(file, ["DATA.PATH_TO_DATA_DIR", "~/k400", "TRAIN.INIT_FROM", "a~b"])
    assert cfg.OUTPUT_DIR == "/home/me/runs/a" and cfg.DATA.PATH_TO_DATA_DIR == "/home/me/k400"
    assert cfg.TRAIN.INIT_FROM == "a~b"
    cfg = load_cfg(None, ["DATA.PATH_LABEL_SEPARATOR", "~"])
    assert cfg.DATA.PATH_LABEL_SEPARATOR == "~"


def test_memory_norm_needs_two_videos():
    memory = ["MEMORY.INTERACTION", "AssociativeMemory", "VIDEO.NUM_CLIPS", "5"]
    with pytest.raises(ConfigError, match="set TRAIN.BATCH_SIZE to 10 or more"):
        load_cfg(None, [*memory, "TRAIN.BATCH_SIZE", "5"])
    load_cfg(None, [*memory, "TRAIN.BATCH_SIZE", "5", "MEMORY.NORM", "layer"])
    load_cfg(None, [*memory, "TRAIN.BATCH_SIZE", "10"])


@pytest.mark.parametrize(
    ("B", "N", "strategy", "ranks", "passes", "videos", "scale"),
    [
        (64, 1, "batch_reduction", 1, 1, 64, 1.0),
        (64, 4, "batch_reduction", 1, 1, 16, 0.25),  # the paper's example, Sec. 3.3
        (64, 4, "batch_reduction", 8, 1, 2, 0.25),  # and on its 8 GPUs
        (64, 5, "batch_reduction", 1, 1, 13, 13 / 64),
        (64, 5, "batch_reduction", 8, 1, 2, 16 / 64),
        (64, 5, "batch_reduction", 2, 2, 3, 12 / 64),
        (64, 5, "multi_iteration", 1, 1, 64, 1.0),
        (64, 5, "multi_iteration", 8, 4, 2, 1.0),
        (60, 5, "multi_iteration", 8, 1, 8, 64 / 60),
        (5, 4, "batch_reduction", 1, 1, 1, 0.2),
    ],
)
def test_batch_plan(B, N, strategy, ranks, passes, videos, scale):
    opts = f"TRAIN.BATCH_SIZE {B} VIDEO.NUM_CLIPS {N} VIDEO.STRATEGY {strategy}".split()
    plan = batch_plan(load_cfg(None, [*opts, "SOLVER.ACCUM_ITERS", str(passes)]), ranks)
    assert (plan.videos, plan.clips, plan.lr_scale) == (videos, N, scale)
    assert plan.step_videos == videos * ranks * passes


def test_batch_plan_says_how_it_came_about():
    opts = ["TRAIN.BATCH_SIZE", "64", "VIDEO.NUM_CLIPS", "5", "SOLVER.ACCUM_ITERS", "2"]
    assert str(batch_plan(load_cfg(None, opts), 4)) == (
        "2 videos x 5 clips x 4 processes x 2 passes = 16 videos a step, batch reduction: "
        "round(64 / 5 / 4 / 2) videos, learning rate x 16/64"
    )


@pytest.mark.parametrize(
    ("at_once", "told"), [(1, "multi-iteration: 64"), (3, "by 3 clips: 64"), (9, "by 5 clips: 64")]
)
def test_batch_plan_says_how_many_clips_are_taken_at_once(at_once, told):
    opts = f"VIDEO.STRATEGY multi_iteration VIDEO.NUM_CLIPS 5 VIDEO.CLIPS_AT_ONCE {at_once}"
    assert told in str(batch_plan(load_cfg(None, opts.split())))


@pytest.mark.parametrize("change", ["VIDEO.STRATEGY batch_reduction", "BN.CLIPWISE False"])
def test_all_clips_at_once_suit_everything(change):
    """So a config that has them so takes either as a single override."""
    load_cfg(ROOT / "configs/AVA/SLOWFAST_4x16_V22_CM.yaml", change.split())


def test_every_key_is_read_somewhere():
    """A key nobody reads is a promise nobody keeps."""
    used = set()
    for path in (ROOT / "cmvl").rglob("*.py"):
        if path.name != "defaults.py":
            tree = ast.parse(path.read_text())
            used |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            used |= set(re.findall(r'"(?:[A-Z]+\.)*([A-Z0-9_]+)"', path.read_text()))
    unread = [key for key in keys_of(get_cfg()) if key.rsplit(".", 1)[-1] not in used]
    assert not unread


def test_every_number_has_its_range():
    values = {key: value_of(get_cfg(), key) for key in keys_of(get_cfg())}
    numbers = {key for key, value in values.items() if type(value) in (int, float)}
    ranged = {key for _, keys in RANGES.values() for key in keys}
    assert numbers - ranged - {*CHOICES} == {"RESNET.DEPTH"}  # a backbone tells which it has


def test_every_list_has_its_elements():
    lists = [key for key in keys_of(get_cfg()) if isinstance(value_of(get_cfg(), key), list)]
    assert sorted(lists) == sorted(key for _, keys in ELEMENTS.values() for key in keys)
    assert {*LENGTHS, *NESTED} <= {*lists}


def test_every_key_is_explained():
    source = (ROOT / "cmvl/config/defaults.py").read_text().splitlines()
    settings = [line for line in source if line.startswith("_C.") and "CN()" not in line]
    assert len(settings) == len(list(keys_of(get_cfg())))
    assert all("  # " in line for line in settings)
