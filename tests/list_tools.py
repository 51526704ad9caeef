"""Lists made and checked by the tools that users call, for the tests of both."""

import os
import subprocess
import sys
from pathlib import Path

from cmvl.config import get_cfg

from video_files import write_frames

ROOT = Path(__file__).parent.parent
HEADER = "id,subject,script,actions,length\n"


def run_tool(name, *args):
    command = [sys.executable, str(ROOT / "tools" / name), *map(str, args)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def cfg_for(folder, name, classes):
    cfg = get_cfg()
    cfg.TRAIN.DATASET = cfg.TEST.DATASET = name
    cfg.TASK = "multi_label" if name == "Charades" else "classification"
    cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES = str(folder), classes
    cfg.DATA.RANDOM_FLIP, cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = False, 4, 2
    return cfg


def make_charades(root):
    row = '{},S,"a, b",{},2.00\n'
    (root / "Charades_v1_train.csv").write_text(
        HEADER + row.format("A1", "c001 0 1") + row.format("B2", "") + row.format("X", "c000 0 1")
    )
    (root / "Charades_v1_test.csv").write_text(HEADER + row.format("C3", "c000 0.5 1;c001 1 2"))
    (root / "Charades_v1_classes.txt").write_text("c000 Holding clothes\nc001 Opening a door\n")
    for name in ("A1", "B2", "C3"):
        write_frames(root / "rgb" / name, 24, f"{name}-%06d.jpg")
    return root
