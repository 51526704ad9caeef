"""cmvl: end-to-end video-level learning with collaborative memories (CVPR 2021)."""

__version__ = "0.1.0"
