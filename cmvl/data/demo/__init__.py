"""The demo data: real videos whose label no short clip shows."""

from cmvl.data.demo.write import write_demo

__all__ = ["write_demo"]
