"""The paper's sentence: clips -> f -> Push -> Pop -> g -> h (Sec. 3.1, Fig. 2).

B videos, N clips, d channels, k = t h w positions, K classes, R boxes.
"""

from collections.abc import Callable, Sequence

from fvcore.common.config import CfgNode
from torch import Tensor, nn

from cmvl.backbones import build_backbone
from cmvl.encode import Encode, batch_reduction, build_encode
from cmvl.memory import CollaborativeMemory, build_memory


class VideoModel(nn.Module):
    """A clip backbone, a memory across the clips of a video, and a head; returns logits."""

    def __init__(
        self, backbone: nn.Module, memory: CollaborativeMemory, head: nn.Module, encode: Encode
    ):
        super().__init__()
        self.backbone, self.memory, self.head, self.encode = backbone, memory, head, encode

    def features(self, clips: Tensor) -> list[Tensor]:
        """uint8 (B, N, 3, T, H, W) -> (B, N, d, t, h, w) per pathway."""
        encode = self.encode if self.training else batch_reduction
        return encode(self.backbone, clips)

    def forward(self, clips: Tensor, boxes: Tensor | None = None) -> Tensor:
        """Logits (B, N, K), or (R, K) for R boxes."""
        maps = self.features(clips)  # X_n = f(C_n)
        X = as_matrices(maps)  # the paper's k x d
        M = self.memory.push(X)  # M = Push({X_n})
        M_n = self.memory.recall(M, X)  # M_n = Pop(M, X_n)
        X_hat = self.memory.infuse(X, M_n)  # g(X_n, M_n)
        return self.head(as_maps(X_hat, maps), boxes)  # h


def as_matrices(maps: Sequence[Tensor]) -> list[Tensor]:
    """(B, N, d, t, h, w) -> (B, N, k, d), per pathway."""
    return [x.flatten(3).transpose(2, 3) for x in maps]


def as_maps(X: Sequence[Tensor], maps: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `as_matrices`; `maps` give the shapes."""
    return [x.transpose(2, 3).unflatten(3, m.shape[3:]) for x, m in zip(X, maps, strict=True)]


def build_model(
    cfg: CfgNode, head: Callable[[CfgNode, Sequence[int], int], nn.Module]
) -> VideoModel:
    """`head` is the task's, e.g. `PooledHead.from_cfg`."""
    backbone = build_backbone(cfg)
    memory = build_memory(cfg, backbone.dims)
    return VideoModel(
        backbone, memory, head(cfg, backbone.dims, backbone.stride), build_encode(cfg)
    )
