"""The paper's tables: what to run for them, what the models cost, what finished runs reached.

python tools/paper.py --table 2c
python tools/paper.py --measure
python tools/paper.py --results output
"""

import argparse
from pathlib import Path

from cmvl.report.ledger import read_ledger
from cmvl.report.paper import commands, measure, render, results
from cmvl.utils.errors import run_tool

LEDGER = Path(__file__).parent.parent / "configs" / "paper.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", nargs="+", default=[], help="1, 2a ... 7b, fig3 ...; else all")
    parser.add_argument("--measure", action="store_true", help="count parameters and GFLOPs")
    parser.add_argument("--results", type=Path, metavar="DIR", help="folder of finished runs")
    parser.add_argument("--out", type=Path, default=Path("output"), help="of the runs to start")
    args = parser.parse_args()

    ledger, known = read_ledger(LEDGER), {}
    for table in ledger.select(args.table):
        if args.measure or args.results:
            found = results(table, args.results) if args.results else {}
            costs = measure(ledger, table, known) if args.measure else {}
            print(render(table, found, costs), end="\n\n", flush=True)
        else:
            print(commands(ledger, table, args.out), end="\n\n")


if __name__ == "__main__":
    run_tool(main)
