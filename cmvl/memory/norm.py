"""Normalisation of matrices (B, N, k, d) over their channels d."""

from torch import Tensor, nn

from cmvl.layers.batchnorm import ClipwiseBatchNorm3d, clip_groups, merge_groups


class MatrixNorm(nn.Module):
    """`kind`: batch (clip-wise, over videos and positions) | batch_all (over clips too) | layer
    (over d) | none.
    """

    def __init__(self, kind: str, d: int):
        super().__init__()
        self.kind = kind
        if kind in ("batch", "batch_all"):
            self.bn = ClipwiseBatchNorm3d(d)
            if kind == "batch_all":
                merge_groups(self.bn)
        elif kind == "layer":
            self.ln = nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, k, d) -> the same shape. Group n of `batch` is clip n of every video."""
        if self.kind == "none":
            return x
        if self.kind == "layer":
            return self.ln(x)
        B, N = x.shape[:2]
        with clip_groups(self.bn, N):
            y = self.bn(x.flatten(0, 1).transpose(1, 2).unsqueeze(-1).unsqueeze(-1))
        return y.flatten(2).transpose(1, 2).unflatten(0, (B, N))
