"""What is kept of one look: a context and the attention in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """One context, ending with a query, and the attention in it."""

    task: int
    observations: NDArray[Any]  # (T, n)
    rewarded: NDArray[np.bool_]  # (T,) tokens that came with a reward
    first: NDArray[np.bool_]  # (T,) first steps of episodes
    weights: NDArray[np.float64]  # (layers, H, rows, T)
    rows: NDArray[np.int64]  # (rows,) which tokens look; the last is T - 1

    @property
    def query(self) -> NDArray[np.float64]:
        """Attention of the last token, (layers, H, T)."""
        return self.weights[:, :, -1]
