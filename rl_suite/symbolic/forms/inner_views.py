"""Constants inside functions that show in another view: in 1/y, log y or the cube root of y, or in x^2, 1/x or sqrt(x).

exp(-b exp(-c x)) has the logarithm of a rate, 1/cosh(k x) the inverse of two rates, (1 - exp(-k t))^3 the cube root of
one, and sin(k x^2) is a wave of x^2. Residuals are weighted by the slope of the view, so that errors are those of y.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.forms.inner import MAX_POINTS, shaped_laws
from rl_suite.symbolic.forms.shapes import SHAPES
from rl_suite.symbolic.laws.pieces import Piece, unary

Values = NDArray[np.float64]
MOST_VARIABLES, OFFERED = 1, 2  # variables up to which views are looked at, for their cost; laws of each view
SEEN = tuple(shape for shape in SHAPES if shape.name in ("wave", "rate", "two rates", "power"))
CHANGED = tuple(shape for shape in SHAPES if shape.name in ("wave", "rate"))
# Function that undoes it: (view of |y|, |d|y|/dt|).
TARGETS: dict[str, tuple[Callable[[Values], Values], Callable[[Values], Values]]] = {
    "exp": (np.log, lambda y: y),
    "inv": (lambda y: 1 / y, lambda y: y**2),
    "cube": (np.cbrt, lambda y: 3 * np.cbrt(y) ** 2),
}
COLUMNS: dict[str, Callable[[Values], Values]] = {"sq": np.square, "inv": np.reciprocal, "sqrt": np.sqrt}


def laws_in_views(
    X: Values, y: Values, variables: Sequence[Piece], functions: Sequence[str], which: Sequence[int]
) -> Iterator[tuple[Piece, int]]:
    """Laws for X (d, n), y (n,) with constants inside functions of ``which`` variables, and the grid points tried."""
    if len(X) > MOST_VARIABLES:
        return
    if X.shape[1] > MAX_POINTS:
        rows = np.linspace(0, X.shape[1] - 1, MAX_POINTS).astype(np.int64)
        X, y = X[:, rows], y[rows]
    if y.min() * y.max() > 0:
        for undo, (view, slope) in TARGETS.items():
            with np.errstate(all="ignore"):
                t, weight = view(np.abs(y)), slope(np.abs(y))
            if np.isfinite(t).all() and np.isfinite(weight).all() and (undo in functions or undo != "exp"):
                for piece, tried in shaped_laws(X, t, variables, functions, SEEN, which, OFFERED, weight):
                    law = unary(undo, piece)
                    yield law if y[0] > 0 else unary("neg", law), tried
    for i in which:
        for change, function in COLUMNS.items():
            with np.errstate(all="ignore"):
                column = function(X[i])
            if np.isfinite(column).all() and np.ptp(column) > 0:
                columns, pieces = X.copy(), list(variables)
                columns[i], pieces[i] = column, unary(change, variables[i])
                yield from shaped_laws(columns, y, pieces, functions, CHANGED, (i,), OFFERED)
