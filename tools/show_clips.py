"""Show which clips a config takes of its videos: frames on the console, pictures as PNG.

python tools/show_clips.py --cfg configs/K400/SLOW_8x8_CM.yaml DATA.PATH_TO_DATA_DIR /data/k400
python tools/show_clips.py --cfg configs/K400/SLOW_8x8_CM.yaml --split test --videos 1
"""

import argparse
from pathlib import Path

from cmvl.config import load_cfg
from cmvl.data import build_dataset
from cmvl.report.clips import draw_clips, show_clips
from cmvl.utils.arguments import positive
from cmvl.utils.errors import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file")
    parser.add_argument("--split", choices=["train", "val", "test"], default="train")
    parser.add_argument("--videos", type=positive, default=3, help="evenly spaced in the list")
    parser.add_argument("--lines", type=positive, nargs="+", help="instead: places, from 1")
    parser.add_argument("--epoch", type=positive, default=1, help="of training, whose draw it is")
    parser.add_argument("--out", type=Path, default=Path("clips.png"), help="picture to write")
    parser.add_argument("--opts", nargs="*", default=[], help="overrides, as KEY VALUE pairs")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="the same")
    args = parser.parse_intermixed_args()  # options may stand among the overrides
    data = build_dataset(load_cfg(args.cfg, [*args.overrides, *args.opts]), args.split)
    if args.lines and max(args.lines) > len(data):
        parser.error(f"--lines {max(args.lines)}: the list has {len(data)}")
    places = [line - 1 for line in args.lines or []] or data.spaced(args.videos)
    shown = []
    for one in show_clips(data, places, args.epoch - 1):
        print(one)
        shown.append(one)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw_clips(shown).savefig(args.out, bbox_inches="tight")
    print(args.out)


if __name__ == "__main__":
    run_tool(main)
