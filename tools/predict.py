"""What a trained net says of one's own videos: files, folders or lists.

python tools/predict.py output/cm video.mp4
python tools/predict.py output/cm videos/ list.csv --json predictions.json --csv predictions.csv
python tools/predict.py output/cm video.mp4 --html page.html --mp4 annotated.mp4
python tools/predict.py output/cm long.mp4 --window 10 --stride 2 --csv events.csv
python tools/predict.py output/ava video.mp4 --boxes persons.csv --mp4 boxes.mp4 --csv boxes.csv
"""

import argparse
from pathlib import Path

from cmvl.engine.trouble import view_memory_advice
from cmvl.report.predict_job import Job, run_job
from cmvl.report.trained import load_trained
from cmvl.report.videos import find_videos, tell
from cmvl.utils.errors import run_tool


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="checkpoint, or a run's folder: its last one")
    parser.add_argument("videos", nargs="+", help="video files, folders of them, lists")
    parser.add_argument("--topk", type=int, default=5, metavar="K", help="classes to show")
    parser.add_argument("--clips", action="store_true", help="show and write the clips too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all of it, clips included")
    parser.add_argument("--resume", action="store_true", help="with what --json FILE has already")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="videos, clips or events")
    parser.add_argument("--mp4", type=Path, metavar="PLACE", help="annotated film: file or folder")
    parser.add_argument("--html", type=Path, metavar="PLACE", help="page of it: file or folder")
    parser.add_argument("--window", type=float, default=0, help="seconds; slide along long videos")
    parser.add_argument("--stride", type=float, default=0, help="seconds; else half a window")
    parser.add_argument("--threshold", type=float, default=0.5, help="score of an event")
    parser.add_argument(
        "--boxes", nargs="?", const="", metavar="CSV", help="people, for detection nets"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1; else what is there")
    parser.add_argument("--workers", type=int, default=0, help="processes that read ahead")
    parser.add_argument("--cfg", default="", metavar="FILE", help="for weights without a config")
    parser.add_argument(
        "--classes", default="", metavar="FILE", help="names: .json, one a line, or kinetics400"
    )
    parser.add_argument("--opts", nargs="*", default=[], help="config overrides, KEY VALUE pairs")
    return parser.parse_args()


def main() -> None:
    args = parse()
    sources = find_videos(args.videos)
    trained = load_trained(args.checkpoint, args.opts, args.device, args.cfg, args.classes)
    names = Job.__dataclass_fields__
    job = Job(**{name: value for name, value in vars(args).items() if name in names})
    with view_memory_advice(trained.cfg, trained.device, halves=False):
        tell(run_job(trained, sources, job), len(sources))


if __name__ == "__main__":
    run_tool(main)
