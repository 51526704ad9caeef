"""Draw the logs of several runs side by side, as PNG.

python tools/plot_log.py output/baseline output/cm --out curves.png
python tools/plot_log.py output/baseline output/cm --figure 5 --out errors.png
python tools/plot_log.py output/n1 output/n3 output/n5 --figure 3 --out clips.png
"""

import argparse
from pathlib import Path

from cmvl.report.curves import plot_clips, plot_curves, plot_errors
from cmvl.report.runs import read_runs
from cmvl.utils.errors import UserError, run_tool

PICTURES = (".png", ".jpg", ".pdf", ".svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="OUTPUT_DIR", help="runs' folders")
    parser.add_argument("--out", type=Path, default=Path("curves.png"), help="picture to write")
    parser.add_argument("--names", nargs="+", default=[], help="of the runs; else their folders'")
    parser.add_argument(
        "--fields", nargs="+", default=[], help="of the log, as train.loss val.top1"
    )
    parser.add_argument(
        "--figure",
        choices=["3", "5"],
        help="of the paper: 3, test accuracy against N; 5, training and validation error",
    )
    args = parser.parse_args()
    if args.out.suffix not in PICTURES:
        raise UserError(f"--out {args.out}: expected a name that ends in {', '.join(PICTURES)}")
    runs = read_runs(args.runs, args.names)
    if args.figure:
        figure = plot_clips(runs) if args.figure == "3" else plot_errors(runs)
    else:
        figure = plot_curves(runs, args.fields)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out)
    print(args.out)


if __name__ == "__main__":
    run_tool(main)
