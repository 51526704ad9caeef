"""The demo data: real videos whose label no short clip shows."""

from cmvl.data.demo.detection import write_films
from cmvl.data.demo.write import PRESETS, write_demo

__all__ = ["PRESETS", "write_demo", "write_films"]
