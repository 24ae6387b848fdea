"""Sparse sums of monomials by orthogonal matching pursuit: the start that polynomials need no search for.

Pati, Rezaiifar, Krishnaprasad (1993). Each step adds the monomial most correlated with the residual and
fits all coefficients again; the number of terms is the one of least price (``polish.price``'s idea).
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import product as cartesian

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.evolution.frames import Target
from rl_suite.symbolic.forms.assembly import least_squares
from rl_suite.symbolic.laws.pieces import Piece, product, undo_transform, weighted_sum

Values = NDArray[np.float64]
MAX_MONOMIALS = 220
MAX_TERMS = 12
MAX_BACKWARD = 60
BITS_PER_TERM = 16.0
FLOOR = 1e-26  # of the NMSE


def exponents(n_variables: int, largest: int) -> NDArray[np.int64]:
    """All exponent vectors of total degree up to ``largest``, or as far as their number stays small, (m, d)."""
    best = np.eye(n_variables, dtype=np.int64)
    for degree in range(2, largest + 1):
        if math.comb(n_variables + degree, degree) - 1 > MAX_MONOMIALS:
            break
        rows = _of_degree(n_variables, degree)
        best = rows
    return best


def _of_degree(n_variables: int, degree: int) -> NDArray[np.int64]:
    if n_variables <= 3:
        grid = np.array([e for e in cartesian(range(degree + 1), repeat=n_variables) if 0 < sum(e) <= degree])
        return grid[np.argsort(grid.sum(1), kind="stable")]
    rows = [np.zeros(n_variables, np.int64)]
    known = {tuple(rows[0])}
    for row in rows:  # breadth first: each row, once more by each variable
        if row.sum() < degree:
            for i in range(n_variables):
                more = row.copy()
                more[i] += 1
                if tuple(more) not in known:
                    known.add(tuple(more))
                    rows.append(more)
    return np.array(rows[1:])


@dataclass(frozen=True)
class Path:
    """A choice of columns with its price, coefficients and error."""

    price: float
    chosen: list[int]
    value: Values
    nmse: float = math.inf


def best_fit(columns: Values, chosen: list[int], observed: Values) -> Values:
    """Least-squares coefficients of the chosen columns."""
    return least_squares(columns[chosen].T, observed).value


def measure(columns: Values, chosen: list[int], observed: Values, total: float, n: int) -> Path:
    """Price of a choice in bits at n points; a choice of as many columns as points is worthless."""
    value = best_fit(columns, chosen, observed)
    residual = observed - columns[chosen].T @ value
    nmse = max(float(residual @ residual) / total, FLOOR)
    price = 0.5 * n * math.log2(nmse) + BITS_PER_TERM * len(chosen) if len(chosen) < n - 1 else math.inf
    return Path(price, list(chosen), value, nmse)


def reduced(columns: Values, observed: Values) -> tuple[Values, Values]:
    """The same least-squares problems with no more points than columns (m, n) and one: by QR decomposition."""
    if columns.shape[1] <= len(columns) + 1:
        return columns, observed
    Q, R = np.linalg.qr(columns.T)
    inside = Q.T @ observed
    rest = np.linalg.norm(observed - Q @ inside)
    return np.column_stack([R.T, np.zeros(len(columns))]), np.append(inside, rest)


def sparse_polynomials(target: Target, X: Values, variables: list[Piece], degree: int) -> tuple[list[Piece], int]:
    """Laws t = sum of monomials of X (d, n), undone to y, and the number of columns that were tried."""
    n = len(target.t)
    powers = exponents(len(X), degree)
    with np.errstate(over="ignore"):
        columns = np.array([np.prod(X ** row[:, None], axis=0) for row in powers])  # (m, n)
    fine = np.isfinite(columns).all(1)
    powers, columns = powers[fine], columns[fine]
    powers = np.concatenate([np.zeros((1, len(X)), np.int64), powers])
    columns = np.concatenate([np.ones((1, n)), columns]) * target.weight
    observed = target.weight * target.t
    columns, observed = reduced(columns, observed)
    unit = columns / np.maximum(np.linalg.norm(columns, axis=1, keepdims=True), 1e-300)
    tried = 0
    best = Path(math.inf, [], np.zeros(0))
    chosen: list[int] = []
    limit = min(MAX_TERMS, n - 2)
    while len(chosen) < limit and best.nmse > FLOOR:
        residual = observed - (columns[chosen].T @ best_fit(columns, chosen, observed) if chosen else 0.0)
        correlation = np.abs(unit @ residual)
        correlation[chosen] = -1.0
        tried += len(columns)
        chosen.append(int(np.argmax(correlation)))
        best = min(best, measure(columns, chosen, observed, target.total, n), key=lambda path: path.price)
    ends = [chosen]
    if len(columns) <= min(n - 4, MAX_BACKWARD):  # few monomials: leave out, beginning with all of them
        ends.append(list(range(len(columns))))
    for end in ends:  # greedy steps pick wrong terms on the way to the right ones: leave them out again
        kept = list(end)
        while len(kept) > 1:
            fit = least_squares(columns[kept].T, observed)
            tried += len(kept)
            del kept[int(np.argmin(np.abs(fit.value) / np.maximum(fit.error, 1e-300)))]  # costs the least error
            step = measure(columns, kept, observed, target.total, n)
            best = min(best, step, key=lambda path: path.price)
    value, chosen = best.value, best.chosen
    intercept = float(value[chosen.index(0)]) if 0 in chosen else None
    terms = []
    for k, b in zip(chosen, value, strict=True):
        if k == 0:
            continue
        factors = [(variables[i], Fraction(int(e))) for i, e in enumerate(powers[k]) if e]
        terms.append((float(b), product(None, factors)))
    return [undo_transform(target.name, weighted_sum(intercept, terms), target.negative)], tried
