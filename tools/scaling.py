"""What trainings ask of machines, calculated: the tables of docs/scaling.md, or of some configs.

python tools/scaling.py
python tools/scaling.py --cfg configs/K400/SLOWFAST_8x8_CM.yaml --used 0.4 --latency 20e-6
"""

import argparse
from dataclasses import fields
from pathlib import Path

from cmvl.config import load_cfg
from cmvl.report.ledger import read_ledger
from cmvl.report.machine import Machine, option
from cmvl.report.marks import fill_file
from cmvl.report.scaling import MACHINES, Scaling, data_table, memory_table, traffic_table
from cmvl.report.traffic import measure
from cmvl.utils.arguments import positive
from cmvl.utils.errors import run_tool

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "scaling.md", help="to fill")
    parser.add_argument("--cfg", nargs="+", default=[], metavar="FILE", help="print their tables")
    parser.add_argument("--opts", nargs="*", default=[], help="overrides, as KEY VALUE pairs")
    parser.add_argument(
        "--machines", type=positive, nargs="+", default=list(MACHINES), help="of 8 GPUs, with --cfg"
    )
    assumptions = parser.add_argument_group("assumptions")
    for one in fields(Machine):
        meaning = f"{one.metadata['meaning']} ({one.default:g})"
        assumptions.add_argument(option(one.name), type=float, default=one.default, help=meaning)
    args = parser.parse_args()
    if min(args.machines) < 1:
        parser.error("--machines: one or more")
    machine = Machine(**{one.name: getattr(args, one.name) for one in fields(Machine)})
    if args.cfg:
        opts = [*args.opts, "TORCHVISION.WEIGHTS", ""]  # shapes suffice
        nets = {file: measure(load_cfg(file, opts)) for file in args.cfg}
        traffic = traffic_table(nets, machine, args.machines)
        print(data_table(nets, machine), traffic, memory_table(nets), sep="\n\n")
        return
    fill_file(args.page, Scaling(read_ledger(ROOT / "configs" / "paper.yaml"), machine).table)
    print(args.page)


if __name__ == "__main__":
    run_tool(main)
