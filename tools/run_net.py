"""Train and test a model.

python tools/run_net.py --cfg configs/K400/SLOWFAST_8x8_CM.yaml NUM_GPUS 8
torchrun --nproc-per-node 8 tools/run_net.py --cfg configs/K400/SLOWFAST_8x8_CM.yaml
"""

import argparse
from pathlib import Path

from fvcore.common.config import CfgNode

from cmvl.config import load_cfg
from cmvl.engine.setup import agree, build_crew
from cmvl.engine.test import test
from cmvl.engine.train import train
from cmvl.launch import launch
from cmvl.report.card import write_card
from cmvl.utils.distributed import is_main
from cmvl.utils.errors import run_tool


def run(cfg: CfgNode) -> None:
    agree(cfg)
    for wanted, job in ((cfg.TRAIN.ENABLE, train), (cfg.TEST.ENABLE, test)):
        if wanted:
            job(cfg)
            if is_main():
                write_card(Path(cfg.OUTPUT_DIR))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file")
    parser.add_argument("--opts", nargs="*", default=[], help="overrides, as KEY VALUE pairs")
    parser.add_argument("--num_shards", type=int, default=1, help="machines of this run")
    parser.add_argument("--shard_id", type=int, default=0, help="which of them this one is")
    parser.add_argument("--init_method", default="", help="tcp://HOST:PORT of machine 0")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY VALUE", help="the same, without --opts"
    )
    args = parser.parse_intermixed_args()  # options may stand among the overrides
    cfg = load_cfg(args.cfg, [*args.overrides, *args.opts])
    launch(run, [cfg], build_crew(cfg, args.num_shards, args.shard_id, args.init_method))


if __name__ == "__main__":
    run_tool(main)
