"""How a clip's features take up its memory (Sec. 3.2, "Context infusion").

X (B, N, k, d) and M_n (B, N, k or 1, d') give X_hat (B, N, k, d).
"""

import torch
from torch import Tensor, nn

from cmvl.memory.build import INFUSIONS
from cmvl.memory.norm import MatrixNorm


class Infusion(nn.Module):
    """M_n W_O, normalised: what is taken up, in one way or another."""

    def __init__(self, d: int, d_mem: int, bias: bool = True, norm: str = "batch"):
        super().__init__()
        self.W_O = nn.Linear(d_mem, d, bias)
        self.norm = MatrixNorm(norm, d)

    def take(self, M_n: Tensor) -> Tensor:
        """(B, N, k, d') -> (B, N, k, d)."""
        return self.norm(self.W_O(M_n))

    def start_at_zero(self) -> None:
        """`take` gives zeros until training has moved it: the norm's scale is 0, or W_O is."""
        last = self.W_O if self.norm.kind == "none" else self.norm
        for p in last.parameters():
            nn.init.zeros_(p)


@INFUSIONS.register()
class FeatureGating(Infusion):
    """Eq. 4: channels are recalibrated by a gate in (1, 2) made of the clip's memory."""

    last_gate: Tensor | None = None

    def gate(self, M_n: Tensor) -> Tensor:
        """sigma(GAP(M_n) W_O), (B, N, 1, d); the mean over k is GAP."""
        return torch.sigmoid(self.take(M_n.mean(dim=2, keepdim=True)))

    def forward(self, X: Tensor, M_n: Tensor) -> Tensor:
        gate = self.gate(M_n)
        self.last_gate = gate.detach()  # for the log
        return (1 + gate) * X

    def statistics(self) -> dict[str, Tensor]:
        """Of the last gate: its mean, and the share that sits within 0.05 of 0 or 1."""
        saturated = (self.last_gate - 0.5).abs() > 0.45
        return {"gate_mean": self.last_gate.mean(), "gate_saturated": saturated.float().mean()}


@INFUSIONS.register()
class ResidualInfusion(Infusion):
    """X_hat = M_n W_O + X, position by position (Table 2b, row "residual")."""

    def forward(self, X: Tensor, M_n: Tensor) -> Tensor:
        return self.take(M_n) + X


class NoInfusion(nn.Module):
    """Goes with NoMemory: X stays as it is."""

    def forward(self, X: Tensor, M_n: Tensor) -> Tensor:
        return X
