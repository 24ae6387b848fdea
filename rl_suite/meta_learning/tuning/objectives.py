"""Several things that an architecture should be good at: which ones no other beats, and one number for a search."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

SHARE_OF_SUM = 0.05  # rho of Knowles 2006

Values = tuple[float, ...]
"""One number per objective; higher is better in each."""


def judge(values: Sequence[Values], rng: np.random.Generator) -> NDArray[np.float64]:
    """One number per row (n,): the value itself, or for several objectives how good it is under random weights.

    The augmented Tchebycheff function of ParEGO (Knowles 2006): the worst weighted rank, plus a little of their sum.
    With ever other weights, the whole front is looked for, also where it is concave.
    """
    array = np.asarray(values, dtype=float)
    if array.shape[1] == 1:
        return array[:, 0]
    weights = rng.dirichlet(np.ones(array.shape[1]))
    ranks = np.stack([rankdata(column) for column in array.T], 1) / len(array)
    lacking = weights * (1 - ranks)
    scores: NDArray[np.float64] = -lacking.max(1) - SHARE_OF_SUM * lacking.sum(1)
    return scores


def front(values: Sequence[Values]) -> list[int]:
    """Places of the rows that no other row beats: none is as good in every objective and better in one.

    >>> front([(0.9, -10.0), (0.8, -20.0), (0.7, -5.0), (0.9, -10.0)])
    [0, 2, 3]
    """
    array = np.asarray(values, dtype=float)
    return [place for place, row in enumerate(array) if not ((array >= row).all(1) & (array > row).any(1)).any()]
