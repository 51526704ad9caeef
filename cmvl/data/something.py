"""Something-Something: a template each, in which left and right matter, so no flip."""

from fvcore.common.config import CfgNode

from cmvl.data.build import DATASETS, build_options
from cmvl.data.dataset import VideoDataset
from cmvl.data.disk import locate, read_names
from cmvl.data.lists import find_list, list_roots, read_list
from cmvl.data.records import Records
from cmvl.data.something_files import EDITIONS, Edition, first_there
from cmvl.utils.errors import DataError


class Something(VideoDataset):
    """One label per video, by the order of the official list of labels.

    The list of a split is the official one, or one of lines `path frames label` or `path label`, as
    `tools/prepare_data.py` writes it. Videos are looked for as in `Kinetics`.
    """

    clip_rule = "strided"
    edition: Edition

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str) -> "Something":
        """Raises DataError for a list that cannot be used, naming its line."""
        if split == "train" and cfg.DATA.RANDOM_FLIP:
            raise DataError(
                "Something-Something has classes such as 'Pulling something from left to right', "
                "which a mirror turns into others: set DATA.RANDOM_FLIP False"
            )
        folder, prefix = cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.PATH_PREFIX
        path = find_list(folder, split, cls.edition.lists[split])
        classes, roots = cfg.MODEL.NUM_CLASSES, list_roots(folder, prefix)
        if cls.edition.is_official(path):
            records = read_official(cls.edition, path, folder, classes, roots)
        else:
            records = read_list(path, cfg.DATA.PATH_LABEL_SEPARATOR, classes, roots)
            records.class_names = read_names(folder, classes)
        return cls(records, split, **build_options(cfg, split, cls.clip_rule))


@DATASETS.register()
class SSv1(Something):
    """Version 1, published as folders of frames."""

    edition = EDITIONS["ssv1"]


@DATASETS.register()
class SSv2(Something):
    """Version 2, published as .webm files."""

    edition = EDITIONS["ssv2"]


def read_official(
    edition: Edition, path: str, folder: str, num_classes: int, roots: tuple[str, ...]
) -> Records:
    """The videos of an official list, frame folders or files called by their id."""
    labels_file = first_there(folder, edition.labels)
    classes = edition.read_labels(labels_file)
    if len(classes) != num_classes:
        raise DataError(
            f"{labels_file}: {len(classes)} templates, MODEL.NUM_CLASSES is {num_classes}; they "
            "must agree"
        )
    rows = edition.read_annotations(path, classes)
    if not rows:
        raise DataError(f"{path}: the list is empty")
    lines, ids, labels = zip(*rows, strict=True)
    paths = [place or name for place, name in zip(locate(ids, roots), ids, strict=True)]
    records = Records(path, paths, labels, lines, roots)
    records.class_names = sorted(classes, key=classes.get)
    return records
