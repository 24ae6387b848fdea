"""Rows that do not follow the law of the others: named as outliers, or weighed less by losses that forgive them.

An outlier costs bits of its own: which row it is, and its value, which no law explains. A law that gives the other
rows to small errors may therefore be cheaper than any law that gives all of them; then the outliers are left out of
the fits and named. The losses are fitted as squares with weights that follow the residuals (Holland and Welsch 1977).
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.data import Data
from rl_suite.symbolic.laws.polish import Finished, Polisher

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
MAD = 1.4826  # standard deviation of normal numbers over the median of their sizes
HUBER = 1.345  # standard deviations up to which Huber's loss is a square: 95 % efficient for normal noise (Huber 1981)
SMALLEST = 0.01  # standard deviations: residuals below count as if they were as large, so that weights stay numbers
FAR = 8.0  # standard deviations, of the rows as they are without outliers, from which a row may be one
MOST_OUTLIERS, FEWEST_ROWS = 0.1, 16  # share of the rows; fewer rows have none
ROUNDS = 5  # of leaving out and fitting again
OUTLIER_BITS = 10.0  # beside saying which row it is
WORTH = 20.0  # bits that must be gained, a million to one
ROUNDING = 1e-12  # of the target's standard deviation: smaller residuals are all alike


def spread_of(residual: Values) -> float:
    """Standard deviation of most of the residuals (n,), whatever the few others are."""
    return max(MAD * float(np.median(np.abs(residual))), ROUNDING)


def loss_weights(loss: str, residual: Values) -> Values | None:
    """Weights (n,) with which squared residuals (n,) have the slope of a loss; None for those that need none.

    >>> loss_weights("huber", np.array([0.5, -0.5, 0.5, 10.0])).round(3).tolist()
    [1.0, 1.0, 1.0, 0.1]
    """
    spread = spread_of(residual)
    if loss == "huber":
        return np.minimum(1.0, HUBER * spread / np.maximum(np.abs(residual), 1e-300))
    if loss == "absolute":
        return np.asarray(spread / np.maximum(np.abs(residual), SMALLEST * spread))
    return None


def outliers(laws: Iterable[Finished], data: Data) -> Flags:
    """Rows (n,) that are cheaper as outliers than explained; all False where the laws do without.

    ``laws`` are those of least error of their complexity on all rows, fitted or not to all of them.
    """
    none = np.zeros(len(data.y), dtype=np.bool_)
    whole = Polisher(data.X, data.y, data.sets, len(data.y), weights=data.weights)
    n = sum(whole.sizes)
    if n < FEWEST_ROWS or n < len(data.y):
        return none
    found, least = none, math.inf
    for law in laws:
        least = min(least, _cost(whole.priced(*(fitted for fitted, _ in whole.fit(*law.laws))), whole))
    least -= WORTH
    for law in laws:
        flags, cost = _without_outliers(law, data, whole)
        if cost < least:
            found, least = flags, cost
    return found


def _without_outliers(law: Finished, data: Data, whole: Polisher) -> tuple[Flags, float]:
    """The outliers of one law, when it is fitted to the others, and its cost in bits with them."""
    n, kept = len(data.y), whole
    laws, flags = list(law.laws), np.zeros(len(data.y), dtype=np.bool_)
    for _ in range(ROUNDS):
        residual = np.empty(n)
        residual[np.concatenate(whole.rows)] = np.abs(whole.residuals(laws))
        if not np.isfinite(residual).all():
            return flags, math.inf
        far = residual > FAR * spread_of(residual[~flags])
        if far.sum() > MOST_OUTLIERS * n or (far == flags).all():
            break
        flags = far
        kept = Polisher(data.X, data.y, data.sets, n, weights=_left_out(data.weights, flags))
        if len(kept.sizes) < len(whole.sizes) or min(kept.sizes) <= law.law.n_free + 1:
            return flags, math.inf
        laws = [fitted for fitted, _ in kept.fit(*laws)]
    count = int(flags.sum())
    if count == 0 or far.sum() > MOST_OUTLIERS * n:
        return flags, math.inf
    unknown = float(np.mean([math.log2(own.scale) for own in whole.datasets]))  # a row that nothing explains
    return flags, _cost(kept.finish(*laws), kept) + count * (math.log2(n) + OUTLIER_BITS + unknown)


def _cost(finished: Finished, polisher: Polisher) -> float:
    """Bits of a law and of its residuals in the target's own unit, so that other rows can be added."""
    pairs = zip(polisher.sizes, polisher.datasets, strict=True)
    return finished.bits + sum(m * math.log2(own.scale) for m, own in pairs)


def _left_out(weights: Values | None, flags: Flags) -> Values:
    return np.where(flags, 0.0, 1.0 if weights is None else weights)


def reweighed(data: Data, loss: str, best: Finished, laws: Iterable[Finished]) -> Values | None:
    """Weights (n,) of the rows for what is known of the law by now, 0 for outliers; None if all count alike."""
    flags = outliers(laws, data)
    weights = _left_out(data.weights, flags) if flags.any() else data.weights
    kept = Polisher(data.X, data.y, data.sets, len(data.y), weights=weights)
    factor: Values | None = None
    for _ in range(ROUNDS):
        now = (
            kept
            if factor is None
            else Polisher(data.X, data.y, data.sets, len(data.y), weights=_times(weights, factor))
        )
        rows = np.concatenate(kept.rows)
        follows = loss_weights(loss, kept.residuals([law for law, _ in now.fit(*best.laws)]))
        if follows is None:
            return weights
        factor = np.ones(len(data.y))
        factor[rows] = follows
    return _times(weights, factor)


def _times(weights: Values | None, factor: Values | None) -> Values | None:
    return factor if weights is None else weights if factor is None else weights * factor
