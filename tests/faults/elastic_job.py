"""What torchrun starts: rank 1 of the first attempt is killed in its fifth step."""

import os
import sys

from fault_jobs import CONFIG, OPTIONS, Blow, run

from cmvl.config import load_cfg
from cmvl.engine.setup import build_crew
from cmvl.launch import launch

if __name__ == "__main__":
    folder, data, *options = sys.argv[1:]
    places = ["DATA.PATH_TO_DATA_DIR", data, "OUTPUT_DIR", folder]
    cfg = load_cfg(CONFIG, [*OPTIONS, *places, *options])
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    launch(run, [cfg, Blow("step", 5, rank=1) if first else None], build_crew(cfg))
