"""From the scores of many views to one (`DATA.ENSEMBLE_METHOD`)."""

import torch
from torch import Tensor

from cmvl.utils.errors import TrainingError


def ensemble(scores: Tensor, method: str, dim: tuple[int, ...]) -> Tensor:
    """The views along `dim` as one. `sum` is taken as the mean, which ranks alike."""
    return scores.amax(dim) if method == "max" else scores.mean(dim)


def checked(scores: Tensor) -> Tensor:
    """Scores in float64 on the CPU. Raises TrainingError for NaN: it would count as a low score."""
    if torch.isnan(scores).any():
        raise TrainingError(
            "a video's scores are NaN: the weights have diverged. Train with a lower "
            "SOLVER.BASE_LR, or test an earlier checkpoint (TEST.CHECKPOINT_FILE_PATH)"
        )
    return scores.double().cpu()


def percent(share: Tensor) -> float:
    return 100.0 * share.double().mean().item()
