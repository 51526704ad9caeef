"""Train and test a model.

python tools/run_net.py --cfg configs/K400/SLOWFAST_8x8_CM.yaml TRAIN.BATCH_SIZE 32
"""

import argparse

from cmvl.config import load_cfg
from cmvl.engine.test import test
from cmvl.engine.train import train
from cmvl.utils.errors import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file")
    parser.add_argument("--opts", nargs="*", default=[], help="overrides, as KEY VALUE pairs")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY VALUE", help="the same, without --opts"
    )
    args = parser.parse_args()
    cfg = load_cfg(args.cfg, [*args.overrides, *args.opts])
    if cfg.TRAIN.ENABLE:
        train(cfg)
    if cfg.TEST.ENABLE:
        test(cfg)


if __name__ == "__main__":
    run_tool(main)
