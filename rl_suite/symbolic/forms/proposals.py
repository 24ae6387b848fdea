"""Laws that a learned prior proposes for a table: forms with fitted constants, as laws to begin with."""

from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.fitted_forms import Scaled, scaled
from envs.symbolic.form_programs import FIRST_VARIABLE
from envs.symbolic.law_forms import form_library
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import NUMBER, Piece
from rl_suite.symbolic.prior import FIT_ROWS, Prior, fitted, spread_rows
from rl_suite.symbolic.target_views import propose_through_views

Values = NDArray[np.float64]
Opening = tuple[Piece, int]

GAIN = 0.5  # a proposal is offered if it leaves less than this share of what the best before it left
SYMBOLS = form_library(1).tokens[:FIRST_VARIABLE]


def proposals(prior: Prior, X: Values, y: Values, names: tuple[str, ...], n: int, seed: int) -> Iterator[Opening]:
    """Of n forms fitted to X (n, d), y (n,), those better than all before, with the programs tried since the last."""
    rows = spread_rows(len(y), FIT_ROWS)
    data = scaled(X[rows], y[rows])
    best, tried = np.inf, 0
    programs, log_prob = propose_through_views(prior.policy, X, y, n)
    for part in fitted(programs, log_prob, X, y, seed):
        for i, nmse in enumerate(part.nmse):
            tried += 1
            if nmse < GAIN * best:
                best = float(nmse)
                program = part.dressed[i, : part.sizes[i]]
                yield unscaled(program, part.constants[i], data, names), tried
                tried = 0


def unscaled(program: NDArray[np.int16], constants: Values, data: Scaled, names: tuple[str, ...]) -> Piece:
    """A dressed form with constants for scaled data as a law over the table itself.

    Every constant takes in the factors that the scales of columns below it come to; what is left goes up to the
    constant of the whole.
    """
    return _Unscaling(program, constants, data, names).piece()


class _Unscaling:
    """One pass over a dressed program in prefix order."""

    def __init__(self, program: NDArray[np.int16], constants: Values, data: Scaled, names: tuple[str, ...]):
        self._tokens, self._constants = program.tolist(), constants.tolist()
        self._token = self._constant = 0
        self._data, self._names = data, names

    def piece(self) -> Piece:
        """The whole, times the size of the target."""
        piece, _ = self._read(1.0 / self._data.size)
        return piece

    def _read(self, wanted: float | None) -> tuple[Piece, float]:
        """The next subtree and the factor by which its scaled value exceeds it: ``wanted``, where that is given."""
        before = self._token, self._constant
        token = self._tokens[self._token]
        self._token += 1
        if token >= FIRST_VARIABLE:
            column = token - FIRST_VARIABLE
            return Piece((self._names[column],)), 1.0 / float(self._data.sizes[column])
        name = SYMBOLS[token].name
        if name == "1":
            return Piece((NUMBER,), ((1.0, Exact(Fraction(1))),)), 1.0
        if name == "c":
            self._constant += 1
            value = self._constants[self._constant - 1]
            return Piece((NUMBER,), ((value / (wanted or 1.0), None),)), wanted or 1.0
        if name == "mul":
            return self._product(wanted)
        if name in ("add", "div"):
            left, above = self._read(wanted if name == "add" else None)
            if name == "add" and wanted is None and _begins_with_constant(left) and abs(left.numbers[0][0]) != 1.0:
                self._token, self._constant = before  # a sum under a root: its first coefficient becomes 1 or -1
                return self._read(above * abs(left.numbers[0][0]))
            right, below = self._read(above if name == "add" else None)
            factor = above if name == "add" else above / below
            return Piece((name, *left.names, *right.names), left.numbers + right.numbers), factor
        inner, factor = self._read(None if name in POWERS else 1.0)
        return Piece((name, *inner.names), inner.numbers), POWERS[name](factor) if name in POWERS else 1.0

    def _product(self, wanted: float | None) -> tuple[Piece, float]:
        left, above = self._read(None)
        if left.names == (NUMBER,) and _begins_with_constant(left):  # a constant takes in what is below it
            right, factor = self._read(None)
            value = left.numbers[0][0] * factor / (wanted or 1.0)
            return Piece(("mul", NUMBER, *right.names), ((value, None), *right.numbers)), wanted or 1.0
        right, below = self._read(None)
        return Piece(("mul", *left.names, *right.names), left.numbers + right.numbers), above * below


def _begins_with_constant(piece: Piece) -> bool:
    """Whether its first number is a fitted coefficient of the whole."""
    first = piece.names[1] if piece.names[0] == "mul" else piece.names[0]
    return first == NUMBER and piece.numbers[0][1] is None and piece.numbers[0][0] != 0.0


POWERS: dict[str, Callable[[float], float]] = {
    "sq": lambda f: f**2,
    "cube": lambda f: f**3,
    "sqrt": lambda f: f**0.5,
    "inv": lambda f: 1.0 / f,
}
