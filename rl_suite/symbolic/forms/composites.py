"""Laws y = prod x^p F(prod x^q): a function of one product of powers, such as omega/T, behind a power law.

For given q, log|y| is linear in the logarithms of x and in the powers of log z, z = prod x^q, whatever F is, as long as
it is smooth: whether that fits says which q are worth a look, and gives p. Then F is looked for as functions of one
variable with constants inside (:mod:`~rl_suite.symbolic.forms.inner`), with y / prod x^p as the target.
A target that changes its sign has no logarithm: for it waves in every short product are tried.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product as cartesian

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.forms.assembly import least_squares
from rl_suite.symbolic.forms.inner import factored_laws
from rl_suite.symbolic.laws.numbers import nearest_exponent
from rl_suite.symbolic.laws.pieces import Piece, product, unary

Values = NDArray[np.float64]
MAX_VARIABLES = 5
DEGREE = 6  # of the polynomial in log z that stands for log|F|
ROWS_PER_COLUMN = 3
BEND = 0.2  # share of what a power law leaves of log|y|, up to which an inner product is worth a look
MOST_PRODUCTS = 3
NEAR = 0.05  # of a measured exponent to a fraction
DECADES = 3.0  # of |y|, from which on relative errors are what a law is looked for with


def composite_laws(X: Values, y: Values, variables: Sequence[Piece], functions: Sequence[str]) -> Iterator[tuple[Piece, int]]:
    """Laws for X (d, n), y (n,), and the grid points that were tried before each."""
    usable = [i for i, row in enumerate(X) if (row != 0).all() and np.ptp(np.log(np.abs(row))) > 1e-9]
    if not 2 <= len(usable) <= MAX_VARIABLES:
        return
    rows, pieces = X[usable], [variables[i] for i in usable]
    for outer, inner in _exponents(rows, y):
        with np.errstate(all="ignore"):
            scale = np.prod(np.abs(rows) ** outer[:, None], axis=0) * np.prod(np.sign(rows) ** np.rint(outer)[:, None], axis=0)
            z = np.prod(rows ** inner[:, None], axis=0)
        if not (np.isfinite(scale).all() and np.isfinite(z).all() and (scale != 0).all() and np.ptp(z) > 0):
            continue
        size = 10.0 ** round(float(np.log10(np.abs(z).max())))
        front = _power(pieces, outer)
        argument = _power(pieces, inner)
        yield from factored_laws(z, y, scale, (front, argument), functions)


def _power(pieces: Sequence[Piece], exponents: Values) -> Piece | None:
    factors = [(piece, Fraction(float(e)).limit_denominator(12)) for piece, e in zip(pieces, exponents, strict=True) if e]
    return product(None, factors) if factors else None
