"""Open every video of a config's data sets, and name what is missing, broken or short.

python tools/check_data.py --cfg configs/K400/SLOW_8x8_CM.yaml --opts DATA.PATH_TO_DATA_DIR DIR
"""

import argparse
import sys
from itertools import takewhile

from cmvl.config import load_cfg
from cmvl.data import build_dataset
from cmvl.data.check import check
from cmvl.data.check_ava import build_ava_report
from cmvl.utils.cores import cores
from cmvl.utils.errors import run_tool

SPLITS = ["train", "val", "test"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file")
    parser.add_argument(
        "--splits", nargs="+", default=SPLITS, metavar="SPLIT", help=f"of {', '.join(SPLITS)}"
    )
    parser.add_argument("--sample", type=int, default=0, help="videos drawn; 0: all of them")
    parser.add_argument(
        "--every-frame", action="store_true", help="decode all, not the first, middle and last only"
    )
    parser.add_argument("--workers", type=int, default=cores(), help="processes")
    parser.add_argument("--out", default="", metavar="DIR", help="write cleaned lists here")
    parser.add_argument("--opts", nargs="*", default=[], help="overrides, as KEY VALUE pairs")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="the same")
    args = parser.parse_intermixed_args()  # options may stand among the overrides
    splits = list(takewhile(SPLITS.__contains__, args.splits))
    if not splits:
        parser.error(f"--splits {args.splits[0]}: expected some of {', '.join(SPLITS)}")
    overrides = args.splits[len(splits) :]  # that follow the last split
    cfg = load_cfg(args.cfg, [*overrides, *args.overrides, *args.opts])
    if cfg.TASK == "detection" and (args.sample or args.out or args.every_frame):
        parser.error("--sample, --every-frame and --out are not for TASK detection")
    unusable, train = 0, None
    for split in splits:
        if cfg.TASK == "detection":
            report = build_ava_report(cfg, split, args.workers)
        else:
            dataset = build_dataset(cfg, split)
            classes = cfg.MODEL.NUM_CLASSES
            report = check(
                dataset, classes, args.sample, args.workers, args.out, train, args.every_frame
            )
            train = dataset.records if split == "train" else train
        print(report)
        unusable += report.unusable
    if unusable:
        sys.exit(f"{unusable} videos cannot be used")


if __name__ == "__main__":
    run_tool(main)
