"""Videos sorted into one folder per class: DATA.PATH_TO_DATA_DIR/{train,val,test}/CLASS/video."""

import os

from fvcore.common.config import CfgNode

from cmvl.data.build import DATASETS, build_options
from cmvl.data.dataset import VideoDataset
from cmvl.data.disk import number_classes, walk_media
from cmvl.data.records import Records
from cmvl.utils.errors import DataError


@DATASETS.register()
class Folder(VideoDataset):
    """One label per video: its folder. Classes are numbered in the alphabetical order of train's.

    A video is a file or a folder of pictures.
    """

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str) -> "Folder":
        """Raises DataError that says what the folder has instead."""
        root, num_classes = cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES
        classes = class_folders(os.path.join(root, "train"))
        if len(classes) != num_classes:
            raise DataError(
                f"{root}/train: {len(classes)} class folders, MODEL.NUM_CLASSES is {num_classes}; "
                "they must agree"
            )
        records = read_split(os.path.join(root, split), number_classes(classes))
        records.class_names = classes
        return cls(records, split, **build_options(cfg, split))


class FolderRecords(Records):
    """Videos that stand in no list."""

    def where(self, i: int) -> str:
        return os.path.join(os.path.basename(self.list_file), self.listed_path(i))


def class_folders(path: str) -> list[str]:
    """The names of the folders in `path`, sorted. Raises DataError if there are none."""
    if not os.path.isdir(path):
        raise DataError(
            f"{path}: no such folder; expected one folder for each class in it, with its videos. "
            "`python tools/prepare_data.py folder` makes lists from class folders without "
            "train, val and test"
        )
    folders = (entry.name for entry in os.scandir(path) if entry.is_dir())
    names = sorted(name for name in folders if not name.startswith("."))  # .ipynb_checkpoints, say
    if not names:
        raise DataError(f"{path}: expected one folder for each class, found none")
    return names


def read_split(path: str, classes: dict[str, int]) -> FolderRecords:
    """Every video file and frame folder of the class folders in `path`."""
    found: list[tuple[str, int]] = []
    for name in class_folders(path):
        if name not in classes:
            raise DataError(f"{path}/{name}: there is no such class in train")
        media = walk_media(os.path.join(path, name))
        found += [(os.path.join(name, place), classes[name]) for place in sorted(media)]
    if not found:
        raise DataError(f"{path}: expected videos in the class folders, found none")
    paths, labels = zip(*found, strict=True)
    return FolderRecords(path, paths, labels, range(1, len(paths) + 1), (path,))
