"""Tell where two runs part: settings, machines, and the first steps whose numbers differ.

python tools/compare_logs.py output/mine output/reference
"""

import argparse
from pathlib import Path

from cmvl.report.divergence import tell_apart
from cmvl.report.runs import read_runs
from cmvl.utils.errors import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs=2, metavar="OUTPUT_DIR", help="a run's folder")
    print(tell_apart(*read_runs(parser.parse_args().runs)))


if __name__ == "__main__":
    run_tool(main)
