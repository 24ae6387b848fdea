"""Sparse sums of monomials by orthogonal matching pursuit: the start that polynomials need no search for.

Pati, Rezaiifar, Krishnaprasad (1993). Each step adds the monomial most correlated with the residual and
fits all coefficients again; the number of terms is the one of least price (``polish.price``'s idea).
"""

import math
from fractions import Fraction
from itertools import product as cartesian

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.assembly import least_squares
from rl_suite.symbolic.frames import Target
from rl_suite.symbolic.pieces import Piece, product, undo_transform, weighted_sum

Values = NDArray[np.float64]
MAX_MONOMIALS = 220
MAX_TERMS = 12
BITS_PER_TERM = 16.0


def exponents(n_variables: int, n_points: int) -> NDArray[np.int64]:
    """All exponent vectors of the largest total degree (at most 9) whose number stays small, (m, d)."""
    best = np.eye(n_variables, dtype=np.int64)
    for degree in range(2, 10):
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


def sparse_polynomials(target: Target, X: Values, variables: list[Piece]) -> tuple[list[Piece], int]:
    """Laws t = sum of monomials of X (d, n), undone to y, and the number of columns that were tried."""
    n = len(target.t)
    powers = exponents(len(X), n)
    with np.errstate(over="ignore"):
        columns = np.array([np.prod(X ** row[:, None], axis=0) for row in powers])  # (m, n)
    fine = np.isfinite(columns).all(1)
    powers, columns = powers[fine], columns[fine]
    powers = np.concatenate([np.zeros((1, len(X)), np.int64), powers])
    columns = np.concatenate([np.ones((1, n)), columns]) * target.weight
    unit = columns / np.maximum(np.linalg.norm(columns, axis=1, keepdims=True), 1e-300)
    observed = target.weight * target.t
    tried = 0
    best: tuple[float, list[int], Values] | None = None
    starts: list[list[int]] = [[]]
    if len(columns) <= n - 4:  # few monomials: begin with all of them and leave out
        starts.append(list(range(len(columns))))
    for chosen in starts:
        removing = bool(chosen)
        while True:
            if chosen:
                fit = least_squares(columns[chosen].T, observed)
                residual = observed - columns[chosen].T @ fit.value
                nmse = max(float(residual @ residual) / target.total, 1e-26)
                price = 0.5 * n * math.log2(nmse) + BITS_PER_TERM * len(chosen)
                if len(chosen) < n - 1 and (best is None or price < best[0]):
                    best = (price, list(chosen), fit.value)
                strength = np.abs(fit.value) * np.linalg.norm(columns[chosen], axis=1)
            else:
                residual = observed
            if removing:
                if len(chosen) == 1:
                    break
                del chosen[int(np.argmin(strength))]
                continue
            if len(chosen) >= min(MAX_TERMS, n - 2) or (chosen and nmse <= 1e-26):
                break
            correlation = np.abs(unit @ residual)
            correlation[chosen] = -1.0
            tried += len(columns)
            chosen.append(int(np.argmax(correlation)))
    if best is None:
        return [], tried
    _, chosen, value = best
    intercept = float(value[chosen.index(0)]) if 0 in chosen else None
    terms = []
    for k, b in zip(chosen, value, strict=True):
        if k == 0:
            continue
        factors = [(variables[i], Fraction(int(e))) for i, e in enumerate(powers[k]) if e]
        terms.append((float(b), product(None, factors)))
    return [undo_transform(target.name, weighted_sum(intercept, terms), target.negative)], tried
