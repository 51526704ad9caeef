"""Write one HTML page on one or several runs, to open or to send without anything else.

python tools/report.py output/cm --baseline output/baseline --out report.html
"""

import argparse
from pathlib import Path

from cmvl.report.run_page import report
from cmvl.report.runs import read_runs
from cmvl.utils.errors import run_tool
from cmvl.utils.files import write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="OUTPUT_DIR", help="runs' folders")
    parser.add_argument("--baseline", type=Path, metavar="OUTPUT_DIR", help="run to compare with")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="page to write")
    parser.add_argument("--names", nargs="+", default=[], help="baseline's first, if there is one")
    args = parser.parse_args()
    baseline = [args.baseline] if args.baseline else []
    runs = read_runs([*baseline, *args.runs], args.names)
    page = report(runs[len(baseline) :], runs[0] if baseline else None)
    write_text(args.out, page, errors="backslashreplace")
    print(args.out)


if __name__ == "__main__":
    run_tool(main)
