"""Known parts of a law: a sub-expression that programs may use, and a skeleton of which one hole is searched.

A skeleton such as ``x*exp(?)`` is solved for its hole: the data say which values the hole must have, and
the search finds the law of these values.
"""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.pointwise import evaluate_pointwise
from envs.symbolic.text import parse
from envs.symbolic.tokens import Library, Program, subtree_sizes
from envs.symbolic.unit_algebra import EQUAL, MUL, RULE_OF_OPCODE, argument_unit, program_unit
from envs.symbolic.units import Unit, Units
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import NUMBER, Piece, from_program, piece_of

Values = NDArray[np.float64]
HOLE = "hole_"
KNOWN = "known_"
LONGEST = 10_000  # part of a fraction that a number of a skeleton is written as

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


def read_known(
    text: str, variables: tuple[str, ...], X: Values, units: Units | None = None
) -> tuple[Piece, Values, Unit | None]:
    """A known sub-expression as a piece, as values (n,), and its unit (U,) where units are known.

    Raises:
        ValueError: it cannot be read, is not finite on all rows, or its units do not agree.
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
    unit = None if units is None else _unit_of(expression.program, library, units, f"the known part {text!r}")[0]
    return from_program(expression.program, expression.constants.tolist(), library), values, unit


def _unit_of(program: Program, library: Library, units: Units, what: str) -> tuple[Unit, bool]:
    """The unit (U,) of a part, and whether it is determined: one of fitted numbers of any unit is not."""
    unit = np.zeros(len(units.base), np.int64)
    known = program_unit(program, len(program), library.opcode, units.of_tokens(library), units.free_constant, unit)
    if known < 0:
        hint = "" if units.free_constant else "; numbers are pure unless free_constants are allowed"
        raise ValueError(f"{what}: its units do not agree{hint}")
    return unit * known, known == 1


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

    def unit_of_hole(self, units: Units) -> Unit:
        """The unit (U,) that the hole must have for the skeleton to have that of the target.

        Raises:
            ValueError: the units of the skeleton do not agree with it.
        """
        own = replace(units, variables=np.concatenate([units.variables, np.zeros_like(units.target)[None]]))
        hole = int(np.flatnonzero(self.program == self.library.id(HOLE))[0])
        sizes = subtree_sizes(self.program, self.library)
        at, unit = 0, units.target.copy()
        while at != hole:
            token = self.library.tokens[int(self.program[at])]
            rule, left = int(RULE_OF_OPCODE[token.opcode]), at + 1
            if token.arity == 1:
                inner = np.zeros_like(unit)
                if argument_unit(rule, unit, True, inner) < 0:
                    raise ValueError(
                        f"the skeleton {self.text!r}: {token.name}(...) cannot have the unit of the target"
                    )
                at, unit = left, inner
                continue
            right = left + int(sizes[left])
            start = right if hole < right else left
            part = self.program[start : start + int(sizes[start])]
            other, known = _unit_of(part, self.library, own, f"the skeleton {self.text!r}")
            if rule == EQUAL:
                if known and (other != unit).any():
                    raise ValueError(f"the skeleton {self.text!r}: what is added to the hole has another unit")
            elif rule == MUL:
                unit = unit - other
            else:  # a quotient
                unit = unit + other if hole < right else other - unit
            at = left if hole < right else right
        return unit

    def _values(self, start: int, sizes: NDArray[np.int64], X: Values) -> Values:
        part = self.program[start : start + int(sizes[start])]
        before = int((self.program[:start] == self.library.constant_id).sum())
        return evaluate_pointwise(part, X, self.library, self.constants[before:])

    def fill(self, law: Law) -> Law:
        """The whole law, with a law of the hole in its place."""
        frame = from_program(self.program, self.constants.tolist(), self.library)
        frame = Piece(frame.names, tuple((value, exact or _given(value)) for value, exact in frame.numbers))
        return substitute(frame, HOLE, piece_of(law)).law(law.library)


def _given(value: float) -> Exact | None:
    """A number of the skeleton, which is no measurement; None where it is no short fraction."""
    fraction = Fraction(str(value))
    return Exact(fraction, given=True) if max(abs(fraction.numerator), fraction.denominator) <= LONGEST else None


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
