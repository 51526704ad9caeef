"""Push and Pop: what the clips of a video tell each other (Sec. 3.2, "Memory interactions").

B videos, N clips, k = t h w positions, d channels, d' memory channels.
X (B, N, k, d) clip features; M the global memory; M_n (B, N, k or 1, d') each clip's own view.
`push` is a mean over clips, so pushes of single clips can be kept and averaged later.
"""

import torch
from torch import Tensor, nn

from cmvl.memory.build import INTERACTIONS
from cmvl.memory.norm import MatrixNorm


@INTERACTIONS.register()
class AssociativeMemory(nn.Module):
    """Outer products in, linear attention out (Eq. 2 and 3). M: (B, d', d')."""

    def __init__(self, d: int, d_mem: int, bias: bool = True, norm_each: bool = False):
        super().__init__()
        self.W_k, self.W_v, self.W_q = (nn.Linear(d, d_mem, bias) for _ in range(3))
        norm = "batch" if norm_each else "none"
        self.norm_k, self.norm_v, self.norm_q = (MatrixNorm(norm, d_mem) for _ in range(3))

    def push(self, X: Tensor) -> Tensor:
        """Eq. 2: the mean over n of (X_n W_k)^T (X_n W_v)."""
        K, V = self.norm_k(self.W_k(X)), self.norm_v(self.W_v(X))
        return torch.einsum("bnke,bnkf->bnef", K, V).mean(dim=1)

    def pop(self, M: Tensor, X: Tensor) -> Tensor:
        """Eq. 3: M_n = (X_n W_q) M, (B, N, k, d')."""
        return self.norm_q(self.W_q(X)) @ M.unsqueeze(1)

    def affinity(self, X: Tensor) -> Tensor:
        """(B, N, N): the mean over positions of (X_n W_q)(X_m W_k)^T, clip n reading clip m."""
        Q, K = self.norm_q(self.W_q(X)).mean(dim=2), self.norm_k(self.W_k(X)).mean(dim=2)
        return Q @ K.transpose(1, 2)


@INTERACTIONS.register()
class AveragePoolMemory(nn.Module):
    """Every clip reads the same average (Sec. 3.2). M: (B, d')."""

    def __init__(self, d: int, d_mem: int, bias: bool = True, norm_each: bool = False):
        super().__init__()
        self.W_I = nn.Linear(d, d_mem, bias)
        self.norm_i = MatrixNorm("batch" if norm_each else "none", d_mem)

    def push(self, X: Tensor) -> Tensor:
        """Pool({X_n W_I}) over clips and positions."""
        return self.norm_i(self.W_I(X)).mean(dim=(1, 2))

    def pop(self, M: Tensor, X: Tensor) -> Tensor:
        """M_n = M: (B, N, 1, d'), a broadcast view."""
        return M[:, None, None].expand(-1, X.shape[1], -1, -1)


@INTERACTIONS.register()
class NoMemory(nn.Module):
    """The null object (Table 2b, row 1): nothing is pushed, nothing popped. M: (B, 0)."""

    def push(self, X: Tensor) -> Tensor:
        return X.new_zeros(X.shape[0], 0)

    def pop(self, M: Tensor, X: Tensor) -> Tensor:
        return X.new_zeros(*X.shape[:2], 1, 0)
