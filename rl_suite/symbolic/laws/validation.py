"""How well a law predicts rows that it was not fitted to: each row is left out once (Stone 1974)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.polish import LARGE, Dataset, Polisher, Values


def left_out(laws: Sequence[Law], polisher: Polisher) -> Values:
    """Squared error (n,) of every row with the constants fitted to all others, in variances of its dataset's target.

    The form of the law is as it was found on all rows; only its measured constants are fitted again.
    """
    pairs = zip(laws, polisher.datasets, strict=True)
    return np.concatenate([_left_out(law, data, polisher.iterations) for law, data in pairs])


def _left_out(law: Law, data: Dataset, iterations: int) -> Values:
    if law.n_free == 0:
        return np.asarray(np.clip(data.residuals(law), -LARGE, LARGE) ** 2)
    root = np.ones(len(data.y)) if data.root_weights is None else data.root_weights
    error = np.empty(len(root))
    for i in range(len(root)):
        others = root.copy()
        others[i] = 0.0
        fitted, _ = replace(data, root_weights=others).fit(law, iterations)
        error[i] = data.residuals(fitted)[i]
    return np.asarray(np.where(np.isfinite(error), np.clip(error, -LARGE, LARGE), LARGE) ** 2)
