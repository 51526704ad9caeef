"""Write weights as PySlowFast's .pyth: a stage-one backbone with its head.

python tools/convert_checkpoint.py output/baseline baseline.pyth

The file holds no optimizer: to fine-tune it there, set TRAIN.CHECKPOINT_EPOCH_RESET True.
"""

import argparse
from pathlib import Path

from cmvl.checkpoint import convert
from cmvl.utils.errors import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, metavar="SRC", help="weights file or a run's folder")
    parser.add_argument("target", type=Path, metavar="DST", help="file to write")
    parser.add_argument("--drop-memory", action="store_true", help="leave out memory.*")
    args = parser.parse_args()
    print(convert(args.source, args.target, args.drop_memory))


if __name__ == "__main__":
    run_tool(main)
