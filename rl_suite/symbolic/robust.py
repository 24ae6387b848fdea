"""Rows that do not follow the law of the others: named as outliers, or weighed less by losses that forgive them.

An outlier costs bits of its own: which row it is, and its value, which no law explains. A law that gives the other
rows to small errors may therefore be cheaper than any law that gives all of them; then the outliers are left out of
the fits and named. The losses are fitted as squares with weights that follow the residuals (Holland and Welsch 1977).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.data import Data
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.polish import Finished, Polisher

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
MAD = 1.4826  # standard deviation of normal numbers over the median of their sizes
FORGIVING = ("huber", "absolute")  # losses
HUBER = 1.345  # standard deviations up to which Huber's loss is a square: 95 % efficient for normal noise (Huber 1981)
SMALLEST = 0.01  # standard deviations: residuals below count as if they were as large, so that weights stay numbers
FAR = 8.0  # standard deviations, of the rows as they are without outliers, from which a row may be one
MOST_OUTLIERS, FEWEST_ROWS = 0.1, 16  # share of the rows; fewer rows have none
MOST_FORGIVEN = 0.35  # the same for losses that forgive, whose fits so many rows do not lead astray
MOST_EARLY = 0.02  # the same before much is known of the law; one row at least
BLINDING = 0.99  # of the sum of squares: with a row that is so much of it, squares feel no other
ROUNDS = 5  # of leaving out and fitting again
OUTLIER_BITS = 10.0  # beside saying which row it is
WORTH = 20.0  # bits that must be gained, a million to one
ROUNDING = 1e-12  # of the target's standard deviation: smaller residuals are all alike


def spread_of(residual: Values) -> float:
    """Standard deviation of most of the residuals (n,), whatever the few others are."""
    return max(MAD * float(np.median(np.abs(residual))), ROUNDING)


def loss_weights(loss: str, residual: Values) -> Values:
    """Weights (n,) with which squared residuals (n,) have the slope of a loss that forgives.

    >>> loss_weights("huber", np.array([0.5, -0.5, 0.5, 10.0])).round(3).tolist()
    [1.0, 1.0, 1.0, 0.1]
    """
    spread = spread_of(residual)
    if loss == "huber":
        return np.minimum(1.0, HUBER * spread / np.maximum(np.abs(residual), 1e-300))
    return np.asarray(spread / np.maximum(np.abs(residual), SMALLEST * spread))


def outliers(laws: Iterable[Finished], data: Data, loss: str = "squared", most: float = MOST_OUTLIERS) -> Flags:
    """Rows (n,) that are cheaper as outliers than explained; all False where the laws do without.

    ``laws`` are those of least error of their complexity on all rows, fitted or not to all of them; ``most`` is the
    largest share of the rows that may be outliers. With a ``loss`` that forgives, laws are first fitted by it.
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
        flags, cost = _without_outliers(law, data, whole, loss, max(1, int(most * n)))
        if cost < least:
            found, least = flags, cost
    return found


def _without_outliers(law: Finished, data: Data, whole: Polisher, loss: str, most: int) -> tuple[Flags, float]:
    """The outliers of one law, at most so many, when it is fitted to the others, and its cost in bits with them."""
    n, kept = len(data.y), whole
    laws, flags = list(law.laws), np.zeros(len(data.y), dtype=np.bool_)
    if loss in FORGIVING:
        laws = _fitted_by(loss, laws, data, whole)[0]
    for _ in range(ROUNDS):
        residual = np.empty(n)
        residual[np.concatenate(whole.rows)] = np.abs(whole.residuals(laws))
        if not np.isfinite(residual).all():
            return flags, math.inf
        far = residual > FAR * spread_of(residual[~flags])
        if far.sum() > most or (far == flags).all():
            break
        flags = far
        kept = Polisher(data.X, data.y, data.sets, n, weights=_left_out(data.weights, flags))
        if len(kept.sizes) < len(whole.sizes) or min(kept.sizes) <= law.law.n_free + 1:
            return flags, math.inf
        laws = [fitted for fitted, _ in kept.fit(*laws)]
    count = int(flags.sum())
    if count == 0 or far.sum() > most:
        return flags, math.inf
    unknown = float(np.mean([math.log2(own.scale) for own in whole.datasets]))  # a row that nothing explains
    return flags, _cost(kept.finish(*laws), kept) + count * (math.log2(n) + OUTLIER_BITS + unknown)


def _cost(finished: Finished, polisher: Polisher) -> float:
    """Bits of a law and of its residuals in the target's own unit, so that other rows can be added."""
    pairs = zip(polisher.sizes, polisher.datasets, strict=True)
    return finished.bits + sum(m * math.log2(own.scale) for m, own in pairs)


def _left_out(weights: Values | None, flags: Flags) -> Values:
    return np.where(flags, 0.0, 1.0 if weights is None else weights)


def blinding(y: Values) -> Flags:
    """Rows (n,) of so large a target that they alone are nearly the whole sum of squares; all False if there are none.

    >>> np.flatnonzero(blinding(np.array([1.0, 2.0, 1e9, 3.0, -2.0]))).tolist()
    [2]
    """
    flags, off = np.zeros(len(y), dtype=np.bool_), y / max(float(np.abs(y).max()), 1e-300)
    for _ in range(max(1, int(MOST_EARLY * len(y)))):
        squares = np.where(flags, 0.0, (off - np.median(off[~flags])) ** 2)
        if not squares.max() > BLINDING * squares.sum():
            break
        flags[squares.argmax()] = True
    return flags


def reweighed(data: Data, loss: str, best: Finished, laws: Iterable[Finished], early: bool = False) -> Values | None:
    """Weights (n,) of the rows for what is known of the law by now, 0 for outliers; None if all count alike.

    ``early``: little is known of the law yet; few rows are left out, and such as hide all others are left out on trial.
    """
    most = MOST_EARLY if early else MOST_FORGIVEN if loss in FORGIVING else MOST_OUTLIERS
    flags = outliers(laws, data, loss, most)
    if early and not flags.any() and len(data.y) >= FEWEST_ROWS:
        flags = blinding(data.y)
    weights = _left_out(data.weights, flags) if flags.any() else data.weights
    if loss not in FORGIVING:
        return weights
    kept = Polisher(data.X, data.y, data.sets, len(data.y), weights=weights)
    return _times(weights, _fitted_by(loss, best.laws, replace(data, weights=weights), kept)[1])


def _fitted_by(loss: str, laws: Sequence[Law], data: Data, kept: Polisher) -> tuple[list[Law], Values]:
    """Laws of the datasets fitted by a loss that forgives, and the factors (n,) of the weights that this means."""
    rows, factor, now = np.concatenate(kept.rows), np.ones(len(data.y)), kept
    for _ in range(ROUNDS):
        fitted = [law for law, _ in now.fit(*laws)]
        factor[rows] = loss_weights(loss, kept.residuals(fitted))
        now = Polisher(data.X, data.y, data.sets, len(data.y), weights=_times(data.weights, factor))
    return fitted, factor


def _times(weights: Values | None, factor: Values) -> Values:
    return factor.copy() if weights is None else weights * factor
