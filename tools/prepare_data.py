"""Make the lists of a data set from its official annotations and the videos on disk.

python tools/prepare_data.py kinetics --train train.csv --val val.csv --videos DIR --out LISTS
python tools/prepare_data.py charades --annotations DIR --videos DIR --out LISTS
python tools/prepare_data.py ssv1 --annotations DIR --videos DIR --out LISTS
python tools/prepare_data.py ssv2 --annotations DIR --videos DIR --out LISTS
python tools/prepare_data.py ucf101 --annotations DIR --videos DIR --fold 1 --out LISTS
python tools/prepare_data.py hmdb51 --annotations DIR --videos DIR --fold 1 --out LISTS
python tools/prepare_data.py diving48 --annotations DIR --videos DIR --out LISTS
python tools/prepare_data.py folder --videos DIR --out LISTS
python tools/prepare_data.py segments --train CSV --val CSV --videos DIR --encode-to DIR --out DIR
python tools/prepare_data.py ava --videos FILMS --out FRAMES
python tools/prepare_data.py cvat --annotations EXPORT.zip ... --videos DIR --out DIR
"""

import argparse
from collections.abc import Callable

from cmvl.data import prepare_sets as sets
from cmvl.data.prepare import Splits, prepare, write_list
from cmvl.data.prepare_ava import Cut, prepare_ava
from cmvl.data.prepare_cvat import prepare_cvat
from cmvl.data.prepare_segments import segment_entries
from cmvl.data.prepare_splits import diving48_entries, hmdb51_entries, ucf101_entries
from cmvl.data.reencode import Encoding
from cmvl.data.something_files import EDITIONS
from cmvl.utils.cores import cores
from cmvl.utils.errors import run_tool

OFFICIAL = {
    "charades": "frame folders or videos",
    "ssv1": "Something-Something-V1",
    "ssv2": "Something-Something-V2",
    "ucf101": "its --fold 1, 2 or 3",
    "hmdb51": "its --fold 1, 2 or 3",
    "diving48": "version 2 of its labels",
}
CVAT = ("annotations", "videos", "out", "attributes", "split", "seed", "fps")  # as it takes them
ENTRIES: dict[str, Callable[[argparse.Namespace], tuple[Splits, dict[str, int]]]] = {
    "kinetics": lambda args: sets.kinetics_entries(args.train, args.val, args.test),
    "charades": lambda args: sets.charades_entries(args.annotations),
    "ssv1": lambda args: sets.something_entries(EDITIONS["ssv1"], args.annotations),
    "ssv2": lambda args: sets.something_entries(EDITIONS["ssv2"], args.annotations),
    "ucf101": lambda args: ucf101_entries(args.annotations, args.fold),
    "hmdb51": lambda args: hmdb51_entries(args.annotations, args.fold),
    "diving48": lambda args: diving48_entries(args.annotations),
    "segments": lambda args: segment_entries(args.train, args.val, args.test),
    "folder": lambda args: sets.folder_entries(args.videos, args.split, args.seed),
}


def parse() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--videos", required=True, metavar="DIR", help="videos or frame folders")
    common.add_argument("--out", required=True, metavar="DIR", help="folder for the lists")
    common.add_argument("--encode-to", default="", metavar="DIR", help="write small videos here")
    common.add_argument("--short-side", type=int, default=256, help="of these, in pixels")
    common.add_argument("--fps", type=int, default=0, help="of these; 0: as they are")
    common.add_argument("--gop", type=int, default=32, help="frames from key frame to key frame")
    common.add_argument("--crf", type=int, default=23, help="H.264 quality; lower is better")
    common.add_argument("--workers", type=int, default=cores(), help="encoding processes")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data_sets = parser.add_subparsers(dest="set", required=True)
    for name, about in (("kinetics", "400, 600 or 700"), ("segments", "parts of long videos")):
        listed = data_sets.add_parser(name, parents=[common], help=about)
        listed.add_argument("--train", required=True, metavar="CSV", help="annotation")
        listed.add_argument("--val", required=True, metavar="CSV", help="annotation")
        listed.add_argument("--test", default="", metavar="CSV", help="only if it has labels")
    for name, about in OFFICIAL.items():
        official = data_sets.add_parser(name, parents=[common], help=about)
        official.add_argument("--annotations", required=True, metavar="DIR", help="official files")
        if name in ("ucf101", "hmdb51"):
            official.add_argument("--fold", type=int, default=1, choices=(1, 2, 3), help="split")
    folder = data_sets.add_parser("folder", parents=[common], help="one folder for each class")
    folder.add_argument("--split", type=float, default=0.8, help="share of videos to train on")
    folder.add_argument("--seed", type=int, default=0, help="of the draw")
    _add_detection(data_sets)
    args = parser.parse_args()
    if args.set == "segments" and not args.encode_to:
        parser.error("segments are written as videos of their own: name a folder with --encode-to")
    return args


def _add_detection(data_sets) -> None:
    """AVA, and boxes of one's own."""
    ava = data_sets.add_parser("ava", help="cut frames out of the films")
    ava.add_argument("--videos", required=True, metavar="DIR", help="films")
    ava.add_argument("--out", required=True, metavar="DIR", help="folder for the frames")
    ava.add_argument("--start", type=float, default=Cut.start, help="second of the first frame")
    ava.add_argument("--seconds", type=float, default=Cut.seconds, help="length of the cut")
    ava.add_argument("--fps", type=int, default=Cut.fps, help="frames a second")
    ava.add_argument("--quality", type=int, default=Cut.quality, help="of the JPEGs, up to 100")
    ava.add_argument("--workers", type=int, default=cores(), help="processes")
    cvat = data_sets.add_parser("cvat", help="boxes with actions, drawn in CVAT")
    cvat.add_argument("--annotations", required=True, nargs="+", metavar="FILE", help="its exports")
    cvat.add_argument("--videos", required=True, metavar="DIR", help="that were annotated")
    cvat.add_argument("--out", required=True, metavar="DIR", help="for the folder of annotations")
    cvat.add_argument("--attributes", nargs="+", default=[], help="those that are actions")
    cvat.add_argument("--split", type=float, default=0.8, help="share of videos to train on")
    cvat.add_argument("--seed", type=int, default=0, help="of the draw")
    cvat.add_argument("--fps", type=float, default=30.0, help="of videos that are pictures")


def main() -> None:
    args = parse()
    if args.set == "ava":
        cut = Cut(args.start, args.seconds, args.fps, args.quality)
        print(prepare_ava(args.videos, args.out, cut, args.workers))
        return
    if args.set == "cvat":
        print(prepare_cvat(*(vars(args)[name] for name in CVAT)))
        return
    write = sets.write_charades if args.set == "charades" else write_list
    splits, classes = ENTRIES[args.set](args)
    encoding = Encoding(args.short_side, args.fps, args.gop, args.crf) if args.encode_to else None
    print(
        prepare(
            splits, classes, args.videos, args.out, write, encoding, args.encode_to, args.workers
        )
    )
    told = f"DATA.PATH_TO_DATA_DIR {args.out} MODEL.NUM_CLASSES {len(classes)}"
    print(f"{len(classes)} classes; train with {told}")


if __name__ == "__main__":
    run_tool(main)
