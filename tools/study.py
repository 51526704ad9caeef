"""The paper's ablations in small: many short trainings on generated videos, one results file.

python tools/study.py --list
python tools/study.py --out study
python tools/study.py --only 2a fig3 --out study
python tools/study.py --page
"""

import argparse
from pathlib import Path

from cmvl.report.ledger import read_ledger
from cmvl.report.study import read_results, read_study
from cmvl.report.study_page import listing, write_page
from cmvl.report.study_run import jobs, run_study, write_sets
from cmvl.utils.errors import run_tool

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
PAGE = ROOT / "docs" / "study.md"
RESULTS = ROOT / "docs" / "study" / "results.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="TABLE", help="else all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[], help="else each table's own")
    parser.add_argument("--out", type=Path, default=Path("study"), help="folder for data and runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="one line for each run")
    parser.add_argument("--list", action="store_true", help="tables, cells and what is done")
    parser.add_argument("--page", action="store_true", help="tables and figures into the page")
    parser.add_argument("--opts", nargs="*", default=[], help="config overrides, KEY VALUE pairs")
    args = parser.parse_args()
    study = read_study(CONFIGS / "study.yaml", read_ledger(CONFIGS / "paper.yaml"))
    tables = study.select(args.only)
    wanted = jobs(study, tables, args.seeds)
    if args.list:
        print(listing(tables, wanted, read_results(args.results)))
    elif args.page:
        for written in write_page(study, read_results(args.results), PAGE):
            print(written)
    else:
        write_sets(study, study.cells_of(tables), args.out)
        run_study(study, wanted, args.out, args.results, args.opts)


if __name__ == "__main__":
    run_tool(main)
