"""Quotients of two sparse polynomials, found by linear algebra: P(x) - t Q(x) = 0 is linear in all coefficients.

The relation of least total squares is the last singular vector of the columns x^p and t x^q (Golub and
Van Loan 1980). Columns are left out one by one as long as the relation stays as good.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.forms.monomials import exponents
from rl_suite.symbolic.laws.pieces import Piece, binary, product, weighted_sum

Values = NDArray[np.float64]
# Of numerator and denominator, tried until a relation holds; from the fourth on only exact ones are believed.
DEGREES = ((1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 2), (4, 3), (4, 4))
BELIEVED = 3
MAX_COLUMNS = 60
MAX_SAID = 10  # terms of a law that is worth looking at
EXACT = 1e-10  # least singular value, columns of length 1, up to which a relation is exact
NOISY = 0.03  # ... or holds up to noise, if
GAP = 1.2  # the second least is so many times larger (an approximation may pass: the price decides)
TRIALS = 3  # columns of least weight, of which one is left out
LOSS = 1.5  # a column is left out if the least singular value grows by no more than this factor


def rational_laws(t: Values, X: Values, variables: list[Piece]) -> Iterator[Piece]:
    """t (n,) as quotients of polynomials in X (d, n): the exact one, or one of each degree that holds up to noise."""
    n, d = len(t), len(X)
    for above, below in DEGREES:
        top, bottom = exponents(d, above), exponents(d, below)
        if top.sum(1).max() < above or bottom.sum(1).max() < below:
            break
        if len(top) + len(bottom) + 2 > min(MAX_COLUMNS, n // 2):
            continue
        none = np.zeros((1, d), np.int64)
        powers = np.concatenate([none, top, none, bottom])
        split = len(top) + 1
        with np.errstate(all="ignore"):
            columns = np.array([np.prod(X ** row[:, None], axis=0) for row in powers])
            columns[split:] *= t
            size = np.linalg.norm(columns, axis=1)
        if not np.isfinite(size).all() or (size == 0).any():
            return
        columns = (columns / size[:, None]).T  # (n, m)
        found = _sparse_relation(columns, split, above <= BELIEVED)
        if found is not None:
            kept, weights, exact = found
            yield _quotient(powers[kept], weights / size[kept], kept < split, variables)
            if exact:
                return


def _sparse_relation(columns: Values, split: int, noisy: bool) -> tuple[NDArray[np.int64], Values, bool] | None:
    """Columns and their weights in the sparsest relation that holds, with columns from both sides of ``split``.

    The third value says whether it is exact; it need not be if ``noisy``.
    """
    kept = np.arange(columns.shape[1])
    root: Values = np.asarray(np.linalg.qr(columns, mode="r"))  # has the singular values of the columns, and fewer rows
    values, weights = _last_vector(root)
    exact = values[-1] < EXACT
    if not exact and not (noisy and values[-1] < NOISY and values[-2] > GAP * values[-1]):
        return None
    limit = EXACT if exact else LOSS * values[-1]
    while len(kept) > 2:
        for k in np.argsort(np.abs(weights), kind="stable")[:TRIALS].tolist():
            rest = np.delete(kept, k)
            if (rest < split).any() and (rest >= split).any():
                values, trial = _last_vector(root[:, rest])
                if values[-1] <= limit:
                    kept, weights = rest, trial
                    break
        else:
            break
    return (kept, weights, bool(exact)) if len(kept) <= MAX_SAID else None


def _last_vector(columns: Values) -> tuple[Values, Values]:
    """Singular values, and the right vector of the least."""
    _, values, rows = np.linalg.svd(columns)
    return values, rows[-1]


def _quotient(powers: NDArray[np.int64], weights: Values, above: NDArray[np.bool_], variables: list[Piece]) -> Piece:
    """-P / Q, with the first coefficient of Q taken as 1."""
    first = int(np.flatnonzero(~above)[0])
    numerator = _polynomial(powers[above], -weights[above] / weights[first], variables)
    below = np.flatnonzero(~above)
    rest = below[1:]
    leading = _monomial(powers[first], variables)
    if len(rest) == 0:
        return numerator if leading is None else binary("div", numerator, leading)
    tail = _polynomial(powers[rest], weights[rest] / weights[first], variables)
    return binary("div", numerator, binary("add", product(None, []) if leading is None else leading, tail))


def _polynomial(powers: NDArray[np.int64], values: Values, variables: list[Piece]) -> Piece:
    intercept: float | None = None
    terms: list[tuple[float, Piece]] = []
    for row, value in zip(powers, values.tolist(), strict=True):
        monomial = _monomial(row, variables)
        if monomial is None:
            intercept = value
        else:
            terms.append((value, monomial))
    return weighted_sum(intercept, terms)


def _monomial(row: NDArray[np.int64], variables: list[Piece]) -> Piece | None:
    factors = [(variables[i], Fraction(int(e))) for i, e in enumerate(row) if e]
    return product(None, factors) if factors else None
