"""h: from infused maps to logits. Softmax, sigmoid and losses are somebody else's."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.layers.init import init_linear


class PooledHead(nn.Module):
    """Global average pool per pathway, concatenation, dropout, linear.

    maps: one (B, N, d_p, t, h, w) per pathway. `pool` is the map's side for a training crop: a
    larger test map is read in windows of that size.
    """

    def __init__(self, dims: Sequence[int], num_classes: int, pool: int, dropout: float = 0.0):
        super().__init__()
        self.pool = pool
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(sum(dims), num_classes)

    @classmethod
    def from_cfg(cls, cfg: CfgNode, dims: Sequence[int], stride: int) -> "PooledHead":
        pool = -(-cfg.DATA.TRAIN_CROP_SIZE // stride)
        head = cls(dims, cfg.MODEL.NUM_CLASSES, pool, cfg.MODEL.DROPOUT_RATE)
        init_linear(head.projection, cfg.MODEL.FC_INIT_STD)
        return head

    def forward(self, maps: Sequence[Tensor], boxes: Tensor | None = None) -> Tensor:
        """Logits (B, N, K)."""
        pooled = torch.cat([x.mean(dim=(3, 4, 5)) for x in maps], dim=-1)
        return self.projection(self.dropout(pooled))

    def windows(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, N, P, K) of the P windows of a training map's size, all of its frames.

        A 256-pixel test crop of a net trained on 224 has an 8 x 8 map and four 7 x 7 windows.
        PySlowFast tests so: the windows' softmax scores are averaged, not their features.
        """
        return self.projection(self.dropout(self.pooled(maps)))

    def pooled(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, N, P, sum of d_p): what `windows` makes its logits of."""
        return torch.cat([self._pool(x) for x in maps], dim=-1)

    def _pool(self, x: Tensor) -> Tensor:
        """(B, N, d, t, h, w) -> (B, N, P, d)."""
        B, N, _, t, h, w = x.shape
        kernel = (t, min(self.pool, h), min(self.pool, w))
        y = F.avg_pool3d(x.flatten(0, 1), kernel, stride=1)
        return y.flatten(2).transpose(1, 2).unflatten(0, (B, N))


class RoIHead(nn.Module):
    """The mean over time, one box of every map, its maximum; concatenation, dropout, linear.

    maps: one (B, N, d_p, t, h, w) per pathway; boxes (R, 5), rows (b * N + n, x1, y1, x2, y2) in
    clip pixels, `stride` of them per position of a map. A box without area has features 0.
    """

    def __init__(
        self,
        dims: Sequence[int],
        num_classes: int,
        stride: int,
        resolution: int = 7,
        aligned: bool = True,
        dropout: float = 0.0,
    ):
        """`resolution`: cells per side of a box; `aligned` False: RoIAlign half a cell off, as in
        PySlowFast's Caffe2 models."""
        super().__init__()
        self.stride, self.resolution, self.aligned = stride, resolution, aligned
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(sum(dims), num_classes)

    @classmethod
    def from_cfg(cls, cfg: CfgNode, dims: Sequence[int], stride: int) -> "RoIHead":
        roi, model = cfg.DETECTION, cfg.MODEL
        size = roi.ROI_XFORM_RESOLUTION
        head = cls(dims, model.NUM_CLASSES, stride, size, roi.ALIGNED, model.DROPOUT_RATE)
        init_linear(head.projection, model.FC_INIT_STD)
        return head

    def forward(self, maps: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """Logits (R, K)."""
        pooled = torch.cat([self._pool(x, boxes) for x in maps], dim=-1)
        return self.projection(self.dropout(pooled))

    def _pool(self, x: Tensor, boxes: Tensor) -> Tensor:
        """(B, N, d, t, h, w) -> (R, d)."""
        from torchvision.ops import roi_align  # slow to import

        still = x.mean(dim=3).flatten(0, 1)  # (B N, d, h, w)
        still = still.to(torch.promote_types(still.dtype, torch.float32))  # boxes need the digits
        cells = roi_align(
            still,
            boxes.to(still.dtype),
            self.resolution,
            spatial_scale=1 / self.stride,
            sampling_ratio=0,
            aligned=self.aligned,
        )
        return cells.amax(dim=(2, 3))
