"""Write the demo's videos and lists, or films in AVA's format.

python tools/make_demo_data.py --out demo/data
python tools/make_demo_data.py --out study/data --preset cue
python tools/make_demo_data.py --ava demo/ava
"""

import argparse
from pathlib import Path

from cmvl.data.demo import PRESETS, write_demo, write_films
from cmvl.utils.arguments import positive
from cmvl.utils.errors import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo/data"), help="folder to write to")
    parser.add_argument("--preset", default="relation", choices=PRESETS, help="which sets")
    parser.add_argument("--ava", type=Path, metavar="DIR", help="write films in AVA's format there")
    parser.add_argument("--train", type=positive, help="videos to train on (320; films: 16)")
    parser.add_argument("--val", type=positive, help="videos to validate on (40; films: 6)")
    parser.add_argument(
        "--test", type=positive, help="videos to test on (160; films: those of val)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other videos")
    parser.add_argument("--workers", type=positive, default=2, help="processes")
    args = parser.parse_args()
    given = ("train", "val", "test", "seed", "workers")
    options = {name: vars(args)[name] for name in given if vars(args)[name] is not None}
    if args.ava is None:
        write_demo(args.out, preset=args.preset, **options)
        sets = " and ".join(PRESETS[args.preset].tasks)
        print(f"{args.out}: {sets}, each with train.csv, val.csv and test.csv")
    elif args.test is not None:
        parser.error("--test: films are tested on those of --val")
    else:
        write_films(args.ava, **options)
        print(f"{args.ava}: frames and annotations")


if __name__ == "__main__":
    run_tool(main)
