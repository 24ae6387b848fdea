"""What an accuracy matrix says about a learner that met its tasks one after the other.

``R[i, j]`` is the accuracy on task j after training on tasks 0 ... i, so that the diagonal is what was learned,
the last row what is left, and the part above the diagonal what was known before it was taught (NaN: not measured).

References:
    Lopez-Paz and Ranzato 2017, "Gradient Episodic Memory for Continual Learning" (ACC, BWT, FWT).
    Chaudhry et al. 2018, "Riemannian Walk for Incremental Learning", section 5 (forgetting).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rl_suite.errors import UserError

Matrix = NDArray[np.float64]  # (T, T)


@dataclass(frozen=True)
class Summary:
    """The usual numbers of one accuracy matrix, in its own unit."""

    average_accuracy: float
    backward_transfer: float
    forward_transfer: float | None
    """None where nobody said what an untrained learner scores."""
    forgetting: float
    learned: float
    """Mean of the diagonal: a learner that cannot learn any more forgets nothing either."""


def average_accuracy(R: ArrayLike) -> float:
    """ACC: mean accuracy over all tasks after the last one."""
    return float(_matrix(R)[-1].mean())


def backward_transfer(R: ArrayLike) -> float:
    """BWT: mean of ``R[T-1, j] - R[j, j]`` over the earlier tasks; negative where they were forgotten."""
    matrix = _matrix(R)
    return float((matrix[-1] - matrix.diagonal())[:-1].mean())


def forward_transfer(R: ArrayLike, untrained: ArrayLike) -> float:
    """FWT: mean of ``R[j-1, j] - untrained[j]`` over the later tasks.

    Args:
        R: (T, T) with the first diagonal above the main one measured.
        untrained: (T,) accuracy of the learner before its first task.
    """
    matrix = _matrix(R)
    before = np.diagonal(matrix, offset=1)
    gain: NDArray[np.float64] = before - np.asarray(untrained, dtype=np.float64)[1:]
    return float(gain.mean())


def forgetting(R: ArrayLike) -> float:
    """Mean over the earlier tasks of the best accuracy they ever had minus the one that is left.

    >>> forgetting([[0.9, 0.1], [0.6, 0.8]])  # the first task fell from 0.9 to 0.6
    0.3
    """
    matrix = _matrix(R)
    best = np.nanmax(matrix[:-1, :-1], axis=0)
    return float(np.round((best - matrix[-1, :-1]).mean(), 12))  # no digits that come from subtracting decimals


def learned(R: ArrayLike) -> float:
    """Mean accuracy on each task right after it was taught."""
    return float(_matrix(R).diagonal().mean())


def summarise(R: ArrayLike, untrained: ArrayLike | None = None) -> Summary:
    """All of the above."""
    transfer = None if untrained is None else forward_transfer(R, untrained)
    return Summary(average_accuracy(R), backward_transfer(R), transfer, forgetting(R), learned(R))


def _matrix(R: ArrayLike) -> Matrix:
    matrix = np.asarray(R, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise UserError(f"an accuracy matrix is (T, T) with at least two tasks, not {matrix.shape}")
    if not np.isfinite(matrix[np.tril_indices(len(matrix))]).all():
        raise UserError("the accuracy of a task that was already taught is missing or not finite")
    return matrix
