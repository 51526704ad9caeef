"""What the paper's trainings ask of machines: arithmetic into the tables of docs/scaling.md.

python tools/scaling.py
"""

import argparse
from pathlib import Path

from cmvl.report.ledger import read_ledger
from cmvl.report.marks import fill_file
from cmvl.report.scaling import Scaling
from cmvl.utils.errors import run_tool

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "scaling.md")
    args = parser.parse_args()
    fill_file(args.page, Scaling(read_ledger(ROOT / "configs" / "paper.yaml")).table)
    print(args.page)


if __name__ == "__main__":
    run_tool(main)
