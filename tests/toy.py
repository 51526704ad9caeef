"""Small pieces that several tests share."""

import socket

import torch
from torch import nn

from cmvl.config import load_cfg
from cmvl.encode import ENCODINGS
from cmvl.heads import PooledHead, RoIHead
from cmvl.layers.batchnorm import ClipwiseBatchNorm3d
from cmvl.memory import build_memory
from cmvl.model import VideoModel

MEMORY = "MEMORY.INTERACTION AssociativeMemory MEMORY.REDUCTION 2 VIDEO.NUM_CLIPS 3"


class ToyBackbone(nn.Module):
    """Two pathways of different size, batch norm and dropout in both, uint8 in."""

    dims, stride = (8, 4), 4

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.slow = nn.Conv3d(3, 8, (1, 4, 4), (2, 4, 4))
        self.fast = nn.Conv3d(3, 4, (3, 4, 4), (1, 4, 4), (1, 0, 0))
        self.slow_bn, self.fast_bn = ClipwiseBatchNorm3d(8), ClipwiseBatchNorm3d(4)
        self.dropout = nn.Dropout(dropout)

    def forward(self, clips):
        x = clips.to(self.slow.weight.dtype) / 255 - 0.45
        slow, fast = self.slow_bn(self.slow(x)).relu(), self.fast_bn(self.fast(x)).relu()
        return [self.dropout(slow), self.dropout(fast)]


def toy_model(strategy="batch_reduction", dropout=0.0, opts=MEMORY, classes=4, crop=16):
    """A float64 video model of 4 classes for 16-pixel crops; the same weights at every call."""
    torch.manual_seed(3)
    backbone = ToyBackbone(dropout)
    memory = build_memory(load_cfg(None, opts.split()), backbone.dims)
    head = PooledHead(backbone.dims, classes, pool=crop // 4)
    return VideoModel(backbone, memory, head, ENCODINGS[strategy]).double()


def toy_box_model(strategy="batch_reduction", opts=MEMORY):
    """The same with 5 classes of actions in boxes."""
    torch.manual_seed(3)
    backbone = ToyBackbone()
    memory = build_memory(load_cfg(None, opts.split()), backbone.dims)
    head = RoIHead(backbone.dims, 5, backbone.stride, resolution=2)
    return VideoModel(backbone, memory, head, ENCODINGS[strategy]).double()


def random_clips(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
