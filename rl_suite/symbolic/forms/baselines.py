"""The laws that every search compares with: the constant, lines, power laws, logarithms and exponentials."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.forms.assembly import least_squares
from rl_suite.symbolic.laws.pieces import Piece, binary, chain, number, unary, weighted_sum

Values = NDArray[np.float64]
MIN_ROWS = 2  # a law of two constants says something about more
FELT = 1e-9  # least exponent that is one: rounding makes others
LARGEST_LOG = 650.0  # natural; beyond, a factor is no number to begin a fit with


def baselines(X: Values, y: Values, variables: Sequence[Piece]) -> Iterator[tuple[str, Piece]]:
    """(kind, law) for X (d, n), y (n,): "constant", then "line" and "power law" in each variable and in all,

    "logarithm" a + b log x and "exponential" a exp(b x).
    """
    yield "constant", number(float(np.mean(y)))
    alone = [[i] for i in range(len(X))]
    for chosen in [*alone, list(range(len(X)))] if len(X) > 1 else alone:
        line = _line(X, y, variables, chosen)
        power = _power_law(X, y, variables, chosen)
        yield from ((kind, piece) for kind, piece in (("line", line), ("power law", power)) if piece is not None)
    if len(y) > MIN_ROWS:
        for row, variable in zip(X, variables, strict=True):
            yield from _half_logarithmic(row, y, variable)


def _line(X: Values, y: Values, variables: Sequence[Piece], chosen: list[int]) -> Piece | None:
    if len(chosen) + 1 >= len(y):
        return None
    fit = least_squares(np.array([np.ones(len(y)), *X[chosen]]).T, y).value
    return weighted_sum(float(fit[0]), [(float(b), variables[i]) for b, i in zip(fit[1:], chosen, strict=True)])


def _power_law(X: Values, y: Values, variables: Sequence[Piece], chosen: list[int]) -> Piece | None:
    """A prod |x|^p with measured exponents, begun where the logarithms say; columns that hold 0 are left out."""
    usable = [i for i in chosen if np.abs(X[i]).min() > 0 and np.ptp(np.abs(X[i])) > 0]
    if not usable or len(usable) + 1 >= len(y):
        return None
    first = X[usable[0]]
    odd = len(chosen) == 1 and first.min() < 0 and _one_sign(y * np.sign(first))  # y = A x |x|^(p - 1)
    if not odd and not _one_sign(y):
        return None
    fit = least_squares(np.array([np.ones(len(y)), *np.log(np.abs(X[usable]))]).T, np.log(np.abs(y))).value
    if not abs(fit[0]) < LARGEST_LOG:
        return None
    sign = np.sign(y[0] * first[0]) if odd else np.sign(y[0])
    sizes = [variables[i] if X[i].min() > 0 else unary("abs", variables[i]) for i in usable]
    pairs = ((float(p) - odd, size) for p, size in zip(fit[1:], sizes, strict=True))
    powers = [binary("pow", size, number(p)) for p, size in pairs if abs(p) > FELT]
    return chain("mul", [number(float(sign * np.exp(fit[0]))), *([variables[usable[0]]] if odd else []), *powers])


def _half_logarithmic(row: Values, y: Values, variable: Piece) -> Iterator[tuple[str, Piece]]:
    if row.min() > 0:
        a, b = least_squares(np.array([np.ones(len(y)), np.log(row)]).T, y).value.tolist()
        yield "logarithm", weighted_sum(a, [(b, unary("log", variable))])
    if _one_sign(y):
        a, b = least_squares(np.array([np.ones(len(y)), row]).T, np.log(np.abs(y))).value.tolist()
        if abs(a) < LARGEST_LOG:
            growth = unary("exp", binary("mul", number(b), variable))
            yield "exponential", binary("mul", number(float(np.sign(y[0]) * np.exp(a))), growth)


def _one_sign(y: Values) -> bool:
    return bool(y.min() > 0 or y.max() < 0)
