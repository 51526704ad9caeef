"""The demo: makes a small video data set, trains three models, prints and draws the comparison.

python tools/demo.py --out demo
"""

import argparse
from pathlib import Path

from cmvl.report.demo import run_demo, write_results
from cmvl.utils.arguments import positive
from cmvl.utils.errors import run_tool

CONFIGS = Path(__file__).parent.parent / "configs" / "demo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one comparison for each")
    parser.add_argument("--opts", nargs="*", default=[], help="config overrides, KEY VALUE pairs")
    for split, number in (("train", 320), ("val", 40), ("test", 160)):
        parser.add_argument(f"--{split}", type=positive, default=number, help=f"{split} videos")
    args = parser.parse_args()
    videos = {"train": args.train, "val": args.val, "test": args.test}
    results = run_demo(args.out, CONFIGS, args.seeds, args.opts, **videos)
    print("\n" + write_results(results, args.out))
    print(f"\npictures: {args.out / 'positions.png'}, {args.out / 'videos.png'}")
    print(f"numbers: {args.out / 'results.json'}")


if __name__ == "__main__":
    run_tool(main)
