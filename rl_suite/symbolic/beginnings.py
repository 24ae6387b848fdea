"""Laws that a search offers before and beside what it breeds: (law of each dataset or one for all, columns tried)."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.data import Data
from rl_suite.symbolic.forms.angles import angle_openings
from rl_suite.symbolic.forms.inner import inner_laws, waves_in_products
from rl_suite.symbolic.forms.inner_views import laws_in_views
from rl_suite.symbolic.forms.inputs import Inputs
from rl_suite.symbolic.forms.openings import openings, peeled_openings
from rl_suite.symbolic.landscape import Landscape
from rl_suite.symbolic.laws.pieces import Piece, number

Offer = tuple[list[Piece], int]
MAX_OPENERS = 4  # datasets from which laws to begin with are made
MOST_INNER = 12  # laws with inner constants that are written


def opening_laws(inputs: Inputs, land: Landscape, solved: Callable[[], bool]) -> Iterator[Offer]:
    """Polynomials and quotients for every target; behind a power law as long as the law is not ``solved``.

    Where there is a product of powers with the target's unit, a multiple of it comes first.
    """
    for columns, y, _ in land.whole[:MAX_OPENERS] if inputs.scale else ():
        yield [inputs.scaled(number(float(np.median(y / inputs.scale_of(columns)))))], 1
    for targets in list(land.full.values()):
        which = inputs.pure if targets[0].scaled else inputs.factor_places
        if len(which) == 0:
            continue
        for target, (columns, *_) in list(zip(targets, land.whole, strict=True))[:MAX_OPENERS]:
            X = np.ascontiguousarray(columns[:, which].T)
            for piece, tried in openings(target, X, inputs.pieces(which)):
                yield [inputs.scaled(piece) if target.scaled else piece], tried
    if not solved():
        for columns, y, _ in land.whole[:MAX_OPENERS]:
            for piece, tried in peeled_openings(inputs.factor_rows(columns), y, list(inputs.factors)):
                yield [piece], tried


def angle_laws(inputs: Inputs, land: Landscape, functions: Sequence[str]) -> Iterator[Offer]:
    """Polynomials and quotients in lengths and the cosine or sine of an angle, where both functions are searched."""
    if not {"sin", "cos"} <= set(functions):
        return
    for columns, y, _ in land.whole[:MAX_OPENERS]:
        for piece, tried in angle_openings(inputs.factor_rows(columns), y, list(inputs.factors)):
            yield [piece], tried


def group_openings(inputs: Inputs, land: Landscape, functions: Sequence[str]) -> Iterator[Offer]:
    """Laws with functions of dimensionless groups, such as 1/(exp(h w/(k T)) - 1); the target over its own unit."""
    which = inputs.pure
    targets = land.full.get(("identity", bool(inputs.scale)))
    if inputs.units is None or len(which) == 0 or targets is None or not (inputs.scale or land.target_is_pure):
        return
    for target, (columns, *_) in list(zip(targets, land.whole, strict=True))[:MAX_OPENERS]:
        X, pieces = np.ascontiguousarray(columns[:, which].T), inputs.pieces(which)
        for piece, tried in inner_laws(X, target.t, pieces, functions, MOST_INNER, range(len(which))):
            yield [inputs.scaled(piece) if inputs.scale else piece], tried


def inner_openings(
    data: Data, rows: Sequence[NDArray[np.int64]], functions: Sequence[str], solved: Callable[[], bool]
) -> Iterator[Offer]:
    """Laws with constants inside functions of one variable, a pure number where constants are, or waves of products.

    Other views of target and columns are looked at as long as the law is not ``solved``.
    """
    varying = np.flatnonzero(data.X.min(axis=0) < data.X.max(axis=0))
    pieces = [Piece((data.variables[i],)) for i in varying]
    pure = data.units is not None and not data.units.free_constant
    inside = [
        k for k, i in enumerate(varying) if not (pure and data.units is not None and data.units.variables[i].any())
    ]
    for own in rows[:MAX_OPENERS]:
        X, y = np.ascontiguousarray(data.X[np.ix_(own, varying)].T), data.y[own]
        for piece, tried in inner_laws(X, y, pieces, functions, MOST_INNER, inside):
            yield [piece], tried
        for piece, tried in () if pure else waves_in_products(X, y, pieces, functions):
            yield [piece], tried
        if not solved():
            for piece, tried in laws_in_views(X, y, pieces, functions, inside):
                yield [piece], tried
