"""Files to uint8 clips. The imports register the data sets."""

from cmvl.data import ava, charades, folder, kinetics, something  # noqa: F401
from cmvl.data.build import DATASETS, build_dataset, build_loader

__all__ = ["DATASETS", "build_dataset", "build_loader"]
