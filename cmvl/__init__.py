"""cmvl: end-to-end video-level learning with collaborative memories (CVPR 2021)."""

import os

# Torch then asks Linux for huge pages, as NumPy does by itself: a step on a CPU clears less memory
# page by page (docs/benchmarks.md). Torch reads it at its first tensor.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
