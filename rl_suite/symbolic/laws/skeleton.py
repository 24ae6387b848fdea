"""Known parts of a law: a sub-expression that programs may use, and a skeleton of which one hole is searched.

A skeleton such as ``x*exp(?)`` is solved for its hole: the data say which values the hole must have, and
the search finds the law of these values.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.pointwise import evaluate_pointwise
from envs.symbolic.text import parse
from envs.symbolic.tokens import Library, Program, subtree_sizes
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import NUMBER, Piece, from_program, piece_of

Values = NDArray[np.float64]
HOLE = "hole_"
KNOWN = "known_"

_UNDO: dict[str, Callable[[Values], Values]] = {
    "neg": lambda t: -t,
    "inv": lambda t: 1 / t,
    "sq": np.sqrt,
    "cube": np.cbrt,
    "sqrt": np.square,
    "exp": np.log,
    "log": np.exp,
    "sin": np.arcsin,
    "cos": np.arccos,
    "tan": np.arctan,
    "asin": np.sin,
    "acos": np.cos,
    "atan": np.tan,
    "sinh": np.arcsinh,
    "cosh": np.arccosh,
    "tanh": np.arctanh,
}
_UNDO_LEFT: dict[str, Callable[[Values, Values], Values]] = {  # (t, right argument) -> left argument
    "add": lambda t, b: t - b,
    "sub": lambda t, b: t + b,
    "mul": lambda t, b: t / b,
    "div": lambda t, b: t * b,
}
_UNDO_RIGHT: dict[str, Callable[[Values, Values], Values]] = {  # (t, left argument) -> right argument
    "add": lambda t, a: t - a,
    "sub": lambda t, a: a - t,
    "mul": lambda t, a: t / a,
    "div": lambda t, a: a / t,
}


def read_known(text: str, variables: tuple[str, ...], X: Values) -> tuple[Piece, Values]:
    """A known sub-expression as a piece and as values (n,).

    Raises:
        ValueError: it cannot be read, or is not finite on all rows.
    """
    library = Library("full", variables, constant=True)
    try:
        expression = parse(text, library)
    except ValueError as error:
        raise ValueError(f"the known part: {error}") from None
    values = evaluate_pointwise(expression.program, X, library, expression.constants)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0]) + 1
        raise ValueError(f"the known part {text!r} is not finite on row {row}")
    return from_program(expression.program, expression.constants.tolist(), library), values


class Skeleton:
    """A law with one hole, written ``?``.

    >>> skeleton = Skeleton("x*exp(?)", ("x",))
    >>> x = np.array([[1.0], [2.0]])
    >>> skeleton.solve(x, np.array([np.e, 2 * np.e**3])).round(12).tolist()
    [1.0, 3.0]
    """

    def __init__(self, text: str, variables: tuple[str, ...]):
        if text.count("?") != 1:
            raise ValueError(f"a skeleton has exactly one hole '?', and {text!r} has {text.count('?')}")
        self.text = text
        self.library = Library("full", (*variables, HOLE), constant=True)
        try:
            expression = parse(text.replace("?", HOLE), self.library)
        except ValueError as error:
            raise ValueError(f"the skeleton: {error}") from None
        self.program: Program = expression.program
        self.constants = expression.constants
        if self.library.id(HOLE) not in self.program:
            raise ValueError(f"the hole of {text!r} is not a term of its own")

    def solve(self, X: Values, y: Values) -> Values:
        """Values (n,) that the hole must have for the skeleton to give y at X (n, d).

        Raises:
            ValueError: there are none on some row, or the hole stands where it cannot be solved for.
        """
        filled = np.column_stack([X, np.ones(len(X))])  # the hole's own column is never read
        sizes = subtree_sizes(self.program, self.library)
        hole = int(np.flatnonzero(self.program == self.library.id(HOLE))[0])
        at, t = 0, y.copy()
        with np.errstate(all="ignore"):
            while at != hole:
                name = self.library.tokens[int(self.program[at])].name
                left = at + 1
                if name in _UNDO:
                    t, at = _UNDO[name](t), left
                    continue
                if name not in _UNDO_LEFT:
                    raise ValueError(f"the hole of {self.text!r} cannot be solved for: it stands inside {name}")
                right = left + int(sizes[left])
                if hole < right:
                    t, at = _UNDO_LEFT[name](t, self._values(right, sizes, filled)), left
                else:
                    t, at = _UNDO_RIGHT[name](t, self._values(left, sizes, filled)), right
        if not np.isfinite(t).all():
            row = int(np.flatnonzero(~np.isfinite(t))[0]) + 1
            raise ValueError(f"no value of the hole makes {self.text!r} give the target of row {row}")
        return t

    def _values(self, start: int, sizes: NDArray[np.int64], X: Values) -> Values:
        part = self.program[start : start + int(sizes[start])]
        before = int((self.program[:start] == self.library.constant_id).sum())
        return evaluate_pointwise(part, X, self.library, self.constants[before:])

    def fill(self, law: Law) -> Law:
        """The whole law, with a law of the hole in its place."""
        frame = from_program(self.program, self.constants.tolist(), self.library)
        return substitute(frame, HOLE, piece_of(law)).law(law.library)


def substitute(piece: Piece, name: str, part: Piece) -> Piece:
    """A piece with every variable called ``name`` replaced by a part."""
    names: list[str] = []
    numbers: list[tuple[float, Exact | None]] = []
    rest = iter(piece.numbers)
    for token in piece.names:
        if token == name:
            names += part.names
            numbers += part.numbers
        else:
            names.append(token)
            if token == NUMBER:
                numbers.append(next(rest))
    return Piece(tuple(names), tuple(numbers))
