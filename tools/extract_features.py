"""Features of videos by a trained net: a .npz for each, with the times of its rows.

python tools/extract_features.py output/cm videos/ --out features
python tools/extract_features.py output/cm list.csv --out features --kind video
python tools/extract_features.py output/cm long.mp4 --out features --kind clip --stride 1
python tools/extract_features.py output/cm long.mp4 --out dir --kind video --window 10 --stride 5
"""

import argparse
from pathlib import Path

from cmvl.engine.trouble import view_memory_advice
from cmvl.report.features import KINDS, Wanted, write_features
from cmvl.report.trained import load_trained
from cmvl.report.videos import find_videos, tell
from cmvl.utils.errors import run_tool


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="checkpoint, or a run's folder: its last one")
    parser.add_argument("videos", nargs="+", help="video files, folders of them, lists")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the .npz files")
    parser.add_argument(
        "--kind", choices=KINDS, default="memory", help="of clips before or after the memory; video"
    )
    parser.add_argument("--views", action="store_true", help="crops and windows of a map apart")
    parser.add_argument("--stride", type=float, default=0, help="seconds from row to row")
    parser.add_argument("--window", type=float, default=0, help="seconds of a row, kind video")
    parser.add_argument("--resume", action="store_true", help="leave files that are there alone")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1; else what is there")
    parser.add_argument("--workers", type=int, default=0, help="processes that read ahead")
    parser.add_argument("--cfg", default="", metavar="FILE", help="for weights without a config")
    parser.add_argument("--opts", nargs="*", default=[], help="config overrides, KEY VALUE pairs")
    return parser.parse_args()


def main() -> None:
    args = parse()
    sources = find_videos(args.videos)
    trained = load_trained(args.checkpoint, args.opts, args.device, args.cfg)
    names = Wanted.__dataclass_fields__
    wanted = Wanted(**{name: value for name, value in vars(args).items() if name in names})
    with view_memory_advice(trained.cfg, trained.device, halves=False):
        tell(write_features(trained, sources, args.out, wanted), len(sources))


if __name__ == "__main__":
    run_tool(main)
