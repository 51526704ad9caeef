"""Write the demo's videos and lists.

python tools/make_demo_data.py --out demo/data
"""

import argparse
from pathlib import Path

from cmvl.data.demo import write_demo
from cmvl.utils.errors import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo/data"), help="folder to write to")
    parser.add_argument("--train", type=int, default=320, help="videos to train on")
    parser.add_argument("--val", type=int, default=40, help="videos to validate on")
    parser.add_argument("--test", type=int, default=160, help="videos to test on")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other videos")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    args = parser.parse_args()
    write_demo(args.out, args.train, args.val, args.test, args.seed, args.workers)
    print(f"{args.out}: relation and events, each with train.csv, val.csv and test.csv")


if __name__ == "__main__":
    run_tool(main)
