"""Two classes: how well class 1 is found among the others. n videos."""

import numpy as np
from numpy.typing import NDArray

from cmvl.evaluation.confusion import Matrix


def f1(matrix: Matrix) -> float:
    """Harmonic mean of class 1's precision and recall, in percent; 0 where it is never right."""
    total = matrix[1].sum() + matrix[:, 1].sum()
    return 200.0 * float(matrix[1, 1]) / float(total) if total else 0.0


def auc(labels: NDArray[np.int64], scores: NDArray[np.floating]) -> float | None:
    """Area under the ROC curve, in percent: how often a video (n, 2) of class 1 has a higher score
    of it than one of class 0; of equal scores half. None where one of the classes has no video.
    """
    margin = scores[:, 1] - scores[:, 0]
    ones, zeros = margin[labels == 1], np.sort(margin[labels == 0])
    if not len(ones) or not len(zeros):
        return None
    below = np.searchsorted(zeros, ones, "left") + np.searchsorted(zeros, ones, "right")
    return float(50.0 * below.mean() / len(zeros))
