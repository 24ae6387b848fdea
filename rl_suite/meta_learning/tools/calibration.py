"""Whether predicted chances are as often right as they say."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rl_suite.errors import UserError

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram (DeGroot and Fienberg 1983): predictions in bins of equal width, and what came true."""

    predicted: NDArray[np.float64]
    """(bins,) mean prediction; NaN in empty bins."""
    observed: NDArray[np.float64]
    """(bins,) share of successes; NaN in empty bins."""
    counts: NDArray[np.int64]
    """(bins,) predictions."""

    @property
    def expected_calibration_error(self) -> float:
        """Mean distance of prediction and share, weighted by counts (Naeini et al. 2015); NaN without predictions."""
        total = int(self.counts.sum())
        gaps = np.abs(np.nan_to_num(self.predicted) - np.nan_to_num(self.observed))
        return float((gaps * self.counts).sum() / total) if total else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Plain values; null in empty bins."""
        error = self.expected_calibration_error
        return {
            "expected_calibration_error": None if np.isnan(error) else error,
            "predicted": [None if np.isnan(value) else float(value) for value in self.predicted],
            "observed": [None if np.isnan(value) else float(value) for value in self.observed],
            "counts": self.counts.tolist(),
        }


def reliability_diagram(predicted: ArrayLike, succeeded: ArrayLike, bins: int = BINS) -> Reliability:
    """Compare predicted chances (n,) with what happened (n,), 0 or 1.

    >>> diagram = reliability_diagram([0.1, 0.2, 0.9, 0.8], [0, 1, 1, 1], bins=2)
    >>> diagram.observed.tolist(), round(diagram.expected_calibration_error, 3)
    ([0.5, 1.0], 0.25)
    """
    p, y = np.asarray(predicted, dtype=np.float64).ravel(), np.asarray(succeeded, dtype=np.float64).ravel()
    if p.shape != y.shape or not ((p >= 0) & (p <= 1)).all() or not np.isin(y, (0, 1)).all():
        raise UserError("predictions must be chances between 0 and 1, outcomes 0 or 1, and as many")
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=p, minlength=bins), np.bincount(place, weights=y, minlength=bins)
    means = [np.divide(total, counts, out=np.full(bins, np.nan), where=counts > 0) for total in sums]
    return Reliability(means[0], means[1], counts)
