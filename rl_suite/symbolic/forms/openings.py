"""Laws to begin with, which need no search: polynomials, quotients of polynomials, and both behind a power law.

Many laws are a product of powers of some variables with something simpler in the others, such as
G m1 m2 / (dx^2 + dy^2 + dz^2). Where the inputs were drawn independently, the logarithm's slopes in the
first are near whole numbers; these factors are taken out, and the rest is looked at alone.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.evolution.frames import Target, make_target
from rl_suite.symbolic.forms.assembly import least_squares
from rl_suite.symbolic.forms.monomials import exponents, sparse_polynomials
from rl_suite.symbolic.forms.rational import rational_laws
from rl_suite.symbolic.laws.pieces import Piece, binary, product, undo_transform

Values = NDArray[np.float64]
POLYNOMIAL_DEGREES = (2, 3, 4, 6, 9)  # largest total degrees, one start each; fewer where there are many variables
SLOPES = (-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0)  # exponents of factors that are taken out
NEAR = 0.25  # of a slope to its exponent
MAX_PEELS = 6
WORTH_LOOKING = 0.02  # share of the variance that a full polynomial leaves, up to which a sparse one is looked for
RATIONAL_TRANSFORMS = ("identity", "square")

Opening = tuple[Piece, int]  # a law, and the columns that were tried for it


def openings(target: Target, X: Values, variables: list[Piece]) -> Iterator[Opening]:
    """Polynomials and quotients in X (d, n) for a transformed target, undone to y."""
    seen: set[int] = set()
    for degree in POLYNOMIAL_DEGREES:
        reached = int(exponents(len(X), degree).sum(1).max())
        if reached not in seen:
            seen.add(reached)
            yield from _polynomial(target, X, variables, degree)
    yield from _quotient(target, X, variables)


def peeled_openings(X: Values, y: Values, variables: list[Piece]) -> Iterator[Opening]:
    """Products of powers of some variables with a polynomial or a quotient in the others."""
    for powers in factors_of(X, y):
        left = np.flatnonzero(powers == 0)
        if len(left) == 0:
            continue
        with np.errstate(invalid="ignore"):  # roots of negative numbers are refused as scales below
            scale = np.prod(X ** powers[:, None], axis=0)
        factor = product(None, [(variables[i], Fraction(float(p))) for i, p in enumerate(powers) if p])
        rest = [variables[i] for i in left]
        for name in ("identity", "inverse", "square"):
            target = make_target(name, X, y, scale)
            if target is None:
                continue
            found = openings_behind(target, X[left], rest)
            yield from ((binary("mul", factor, piece), tried) for piece, tried in found)


def openings_behind(target: Target, X: Values, variables: list[Piece]) -> Iterator[Opening]:
    """Quotients, and a polynomial of second degree where one with all its terms leaves little."""
    yield from _quotient(target, X, variables)
    if _full_polynomial_explains(target, X):
        yield from _polynomial(target, X, variables, 2)


def factors_of(X: Values, y: Values) -> list[NDArray[np.float64]]:
    """Exponents (d,) of factors that may be taken out of y, 0 for the others: one, two, ... variables."""
    if (y == 0).any():
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.abs(X))
    usable = [i for i in range(len(X)) if np.isfinite(logs[i]).all() and np.ptp(logs[i]) > 1e-12]
    if not usable or len(usable) + 1 >= len(y):
        return []
    centred = logs[usable] - logs[usable].mean(axis=1, keepdims=True)
    columns = [np.ones(len(y)), *centred]
    bent = [centred[i] * centred[j] for i in range(len(usable)) for j in range(i + 1)]
    if len(columns) + len(bent) <= len(y) // 2:  # what is no power is taken out of the slopes of what is
        columns += bent
    slopes, *rest = np.split(least_squares(np.array(columns).T, np.log(np.abs(y))).value[1:], [len(usable)])
    nearest = np.array([min(SLOPES, key=lambda e: abs(e - slope)) for slope in slopes])
    distance = np.abs(slopes - nearest)
    orders = [distance]
    if len(rest[0]):  # a factor has no part in what is bent
        bend = np.zeros((len(usable), len(usable)))
        bend[np.tril_indices(len(usable))] = rest[0]
        spread = centred.std(axis=1)
        orders.append((np.abs(bend + bend.T) * np.outer(spread, spread)).sum(axis=1) + distance * spread)
    result: dict[bytes, Values] = {}
    for order in reversed(orders):
        powers = np.zeros(len(X))
        for k in np.argsort(order, kind="stable")[:MAX_PEELS]:
            if distance[k] <= NEAR:
                powers[usable[k]] = nearest[k]
                result.setdefault(powers.tobytes(), powers.copy())
    return list(result.values())


def _polynomial(target: Target, X: Values, variables: list[Piece], degree: int) -> Iterator[Opening]:
    pieces, tried = sparse_polynomials(target, X, variables, degree)
    yield from ((piece, tried if k == 0 else 0) for k, piece in enumerate(pieces))


def _quotient(target: Target, X: Values, variables: list[Piece]) -> Iterator[Opening]:
    if target.name in RATIONAL_TRANSFORMS:
        for piece in rational_laws(target.t, X, variables):
            yield undo_transform(target.name, piece, target.negative), len(X)


def _full_polynomial_explains(target: Target, X: Values) -> bool:
    """Whether a polynomial of second degree with all its terms leaves little of the target."""
    n = len(target.t)
    powers = exponents(len(X), 2)
    if len(powers) + 1 > n // 2:
        return False
    columns = np.array([np.ones(n), *(np.prod(X ** row[:, None], axis=0) for row in powers)]) * target.weight
    observed = target.weight * target.t
    fit = least_squares(columns.T, observed).value
    left = observed - columns.T @ fit
    return bool(left @ left < WORTH_LOOKING * target.total)
