"""From the scores of many views to one (`DATA.ENSEMBLE_METHOD`)."""

import torch
from torch import Tensor


def ensemble(scores: Tensor, method: str, dim: tuple[int, ...]) -> Tensor:
    """The views along `dim` as one. `sum` is taken as the mean, which ranks alike."""
    return scores.amax(dim) if method == "max" else scores.mean(dim)


def checked(scores: Tensor) -> Tensor:
    """Scores in float64 on the CPU. NaN raises: as a score it would count as a low one."""
    if torch.isnan(scores).any():
        raise FloatingPointError("a video's scores are NaN: the weights have diverged")
    return scores.double().cpu()


def percent(share: Tensor) -> float:
    return 100.0 * share.double().mean().item()
