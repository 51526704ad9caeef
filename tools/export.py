"""Write a trained net as one file that needs no cmvl to run, checked against the net.

python tools/export.py output/cm --out cm.pt2
python tools/export.py output/cm --out encoder.onnx --part clip
"""

import argparse
from pathlib import Path

from cmvl.report.export import FORMATS, clip_part, export, video_part
from cmvl.report.trained import load_trained
from cmvl.utils.errors import UserError, run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint, or a run's folder")
    parser.add_argument("--out", type=Path, required=True, help="file to write: .pt2 or .onnx")
    parser.add_argument(
        "--part",
        choices=["video", "clip"],
        default="video",
        help="the whole model, or its clip encoder alone",
    )
    parser.add_argument("--clips", type=int, default=0, help="N; 0: the test's number of clips")
    parser.add_argument("--side", type=int, default=0, help="pixels; 0: the test's crop")
    parser.add_argument("--cfg", default="", metavar="FILE", help="for weights without a config")
    parser.add_argument("--opts", nargs="*", default=[], help="overrides, as KEY VALUE pairs")
    args = parser.parse_args()
    kind = args.out.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise UserError(f"--out {args.out}: expected a file .{' or .'.join(FORMATS)}")
    net = load_trained(args.checkpoint, args.opts, "cpu", args.cfg)
    side, data = args.side or net.cfg.DATA.TEST_CROP_SIZE, net.cfg.DATA
    if args.part == "clip":
        part = clip_part(net.model, data.NUM_FRAMES, side)
    else:
        N = args.clips or net.cfg.TEST.NUM_ENSEMBLE_VIEWS
        activation, task = net.task.activation, net.cfg.TASK
        part = video_part(net.model, data.NUM_FRAMES, side, N, activation, task)
    about = {"checkpoint": str(net.path), "class_names": net.class_names, "config": net.cfg.dump()}
    worst = export(part, args.out, kind, about)
    print(f"{args.out}: outputs within {worst:.1e} of the net's; {args.out.with_suffix('.json')}")


if __name__ == "__main__":
    run_tool(main)
