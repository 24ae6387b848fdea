"""Openings with the cosine or sine of an angle, or of the difference of two, in the place of the angle itself.

Laws of distances, such as x1^2 + x2^2 - 2 x1 x2 cos(theta1 - theta2), are polynomials in lengths and a cosine; so are
their roots and quotients. Which columns are angles is not known: all whose range is that of an angle are tried.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.evolution.frames import make_target
from rl_suite.symbolic.forms.openings import Opening, openings_behind, peeled_openings
from rl_suite.symbolic.laws.pieces import Piece, binary, unary

Values = NDArray[np.float64]
LEAST_RANGE, LARGEST = 0.9, 4 * np.pi  # radians that an angle goes over, and its largest value
MAX_ANGLES, MAX_VARIABLES = 4, 6
TRANSFORMS = ("identity", "square", "inverse")


def angle_openings(X: Values, y: Values, variables: list[Piece]) -> Iterator[Opening]:
    """Polynomials and quotients in X (d, n) with one angle as its cosine or sine, alone and behind a power law."""
    if len(X) > MAX_VARIABLES:
        return
    for columns, pieces in _with_functions(X, variables):
        for name in TRANSFORMS:
            target = make_target(name, columns, y)
            if target is not None:
                yield from openings_behind(target, columns, pieces)
        yield from peeled_openings(columns, y, pieces)


def _with_functions(X: Values, variables: list[Piece]) -> Iterator[tuple[Values, list[Piece]]]:
    """Rows and pieces in which a function of an angle stands for it."""
    angles = [i for i, row in enumerate(X) if np.ptp(row) > LEAST_RANGE and np.abs(row).max() < LARGEST][:MAX_ANGLES]
    for i in angles:
        rest = [k for k in range(len(X)) if k != i]
        for name, function in (("cos", np.cos), ("sin", np.sin)):
            row, piece = function(X[i]), unary(name, variables[i])
            yield np.array([row, *X[rest]]), [piece, *(variables[k] for k in rest)]
    for i, j in combinations(angles, 2):
        rest = [k for k in range(len(X)) if k not in (i, j)]
        row, piece = np.cos(X[i] - X[j]), unary("cos", binary("sub", variables[i], variables[j]))
        yield np.array([row, *X[rest]]), [piece, *(variables[k] for k in rest)]
