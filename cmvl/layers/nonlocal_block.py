"""The non-local block (Wang et al. 2018), with PySlowFast's parameter names.

B clips, d inner channels, G groups in time, n queries and m keys of a group.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from cmvl.layers.resnet3d import closing_norm
from cmvl.utils.errors import ConfigError


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v; q (B, G, n, d), k and v (B, G, m, d) -> (B, G, n, d)."""
    # The fused kernels, which never hold the n x m matrix, want the channels innermost.
    return F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous())


def dot_product_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(q k^T / m) v; q (B, G, n, d), k and v (B, G, m, d) -> (B, G, n, d)."""
    n, d = q.shape[-2:]
    v = v / v.shape[-2]
    if keys_first(n, v.shape[-2], d):
        return q @ (k.transpose(-1, -2) @ v)
    return (q @ k.transpose(-1, -2)) @ v


def keys_first(n: int, m: int, d: int) -> bool:
    """Without a softmax the product may be taken in either order: the cheaper one is."""
    return d * (n + m) < 2 * n * m


AFFINITIES = {"softmax": softmax_attention, "dot_product": dot_product_attention}


class NonLocal(nn.Module):
    """x + norm(W_out(attention over the positions of x)); keys and values are max-pooled.

    With `groups` G, frame sets of T / G frames attend only to themselves.
    """

    def __init__(
        self,
        d: int,
        d_inner: int,
        affinity: str = "dot_product",
        pool: tuple[int, int, int] = (1, 2, 2),
        groups: int = 1,
    ):
        super().__init__()
        self.attention, self.groups = AFFINITIES[affinity], groups
        self.conv_theta = nn.Conv3d(d, d_inner, 1)
        self.conv_phi = nn.Conv3d(d, d_inner, 1)
        self.conv_g = nn.Conv3d(d, d_inner, 1)
        self.conv_out = nn.Conv3d(d_inner, d, 1)
        self.bn = closing_norm(d)
        self.pool_size = pool
        self.pool = nn.MaxPool3d(pool) if max(pool) > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, T, H, W) -> the same shape."""
        size = tuple(x.shape[2:])
        if any(length < cells for length, cells in zip(size, self.pool_size, strict=True)):
            raise ConfigError(
                f"NONLOCAL.POOL {list(self.pool_size)} does not fit into a map of {list(size)}, "
                "t h w: pool less, or take larger clips"
            )
        theta, pooled = self.conv_theta(x), self.pool(x)
        y = self.attention(
            self._rows(theta), self._rows(self.conv_phi(pooled)), self._rows(self.conv_g(pooled))
        )
        y = y.permute(0, 3, 1, 2).reshape(theta.shape)
        return self.bn(self.conv_out(y)).add_(x)

    def _rows(self, x: Tensor) -> Tensor:
        """(B, d, t, h, w) -> (B, G, t h w / G, d), a view."""
        if x.shape[2] % self.groups:
            raise ConfigError(
                f"NONLOCAL.GROUP {self.groups} does not divide the {x.shape[2]} frames of a map"
            )
        return x.flatten(2).unflatten(2, (self.groups, -1)).permute(0, 2, 3, 1)
