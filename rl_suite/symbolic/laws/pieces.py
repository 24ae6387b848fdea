"""Putting expressions together from parts: prefix token names with the numbers of their constants."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from envs.symbolic.tokens import CONSTANT, Library, Program
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact

NUMBER = "#"  # stands for the fitted constant, whose token is named otherwise where a variable is called c


@dataclass(frozen=True)
class Piece:
    """Token names in prefix order and (value, recognised number or None) of each constant among them."""

    names: tuple[str, ...]
    numbers: tuple[tuple[float, Exact | None], ...] = field(default=())

    def law(self, library: Library) -> Law:
        """The finished law."""
        constant = library.tokens[library.constant_id].name
        return Law(
            library,
            library.encode(constant if name == NUMBER else name for name in self.names),
            np.array([value for value, _ in self.numbers], dtype=np.float64),
            tuple(exact for _, exact in self.numbers),
        )


def from_program(program: Program, constants: Sequence[float], library: Library) -> Piece:
    """A program of any library (with its constants) as a piece."""
    tokens = [library.tokens[int(i)] for i in program]
    values = iter(constants)
    names: list[str] = []
    numbers: list[tuple[float, Exact | None]] = []
    for token in tokens:
        if token.opcode == CONSTANT:
            names.append(NUMBER)
            numbers.append((float(next(values)), None))
        elif token.arity == 0 and token.index < 0 and token.name != "pi":  # a literal is a recognised number
            names.append(NUMBER)
            numbers.append((token.value, Exact(Fraction(token.name))))
        elif token.name == "pi":
            names.append(NUMBER)
            numbers.append((token.value, Exact(Fraction(1), Fraction(1))))
        else:
            names.append(token.name)
    return Piece(tuple(names), tuple(numbers))


def piece_of(law: Law) -> Piece:
    """A law as a piece, with what its numbers were recognised as."""
    constant = law.library.constant_id
    names = tuple(NUMBER if i == constant else law.library.tokens[i].name for i in law.program.tolist())
    return Piece(names, tuple(zip(law.constants.tolist(), law.exact, strict=True)))


def number(value: float, exact: Exact | None = None) -> Piece:
    """A constant."""
    return Piece((NUMBER,), ((value, exact),))


def unary(name: str, a: Piece) -> Piece:
    """A function of a piece."""
    return Piece((name, *a.names), a.numbers)


def binary(name: str, a: Piece, b: Piece) -> Piece:
    """An operation on two pieces."""
    return Piece((name, *a.names, *b.names), a.numbers + b.numbers)


def chain(name: str, parts: Iterable[Piece]) -> Piece | None:
    """Parts joined by one operation; None if there are none."""
    result: Piece | None = None
    for part in parts:
        result = part if result is None else binary(name, result, part)
    return result


def raised(a: Piece, exponent: Fraction) -> Piece:
    """A piece to a positive rational power, by squares, cubes and roots where they suffice."""
    if exponent.denominator == 2:
        whole = exponent.numerator // 2
        root = unary("sqrt", a)
        return root if whole == 0 else binary("mul", raised(a, Fraction(whole)), root)
    if exponent.denominator != 1:
        return binary("pow", a, number(float(exponent), Exact(exponent)))
    n = exponent.numerator
    if n == 1:
        return a
    if n in (2, 3):
        return unary("sq" if n == 2 else "cube", a)
    if n % 2 == 0:
        return unary("sq", raised(a, Fraction(n // 2)))
    if n % 3 == 0:
        return unary("cube", raised(a, Fraction(n // 3)))
    return binary("mul", raised(a, Fraction(n - 1)), a)


def product(scale: float | None, factors: Iterable[tuple[Piece, Fraction]]) -> Piece:
    """scale * prod factor ** exponent, written as a fraction where exponents are negative."""
    factors = list(factors)
    top = [raised(piece, e) for piece, e in factors if e > 0]
    bottom = [raised(piece, -e) for piece, e in factors if e < 0]
    if scale is not None:
        top = [number(scale), *top]
    numerator, denominator = chain("mul", top), chain("mul", bottom)
    if denominator is None:
        return numerator if numerator is not None else number(1.0, Exact(Fraction(1)))
    return unary("inv", denominator) if numerator is None else binary("div", numerator, denominator)


def weighted_sum(intercept: float | None, terms: Iterable[tuple[float, Piece]]) -> Piece:
    """intercept + sum coefficient * piece."""
    parts = [binary("mul", number(b), piece) for b, piece in terms]
    if intercept is not None:
        parts = [number(intercept), *parts]
    result = chain("add", parts)
    return result if result is not None else number(0.0, Exact(Fraction(0)))


INVERSES = {"square": "sqrt", "inverse": "inv", "exp": "log", "sin": "asin"}


def undo_transform(name: str, a: Piece, negative: bool) -> Piece:
    """The target from its transform: y = sqrt(t) (or minus it), 1/t, log t, asin t."""
    if name == "identity":
        return a
    if name == "square" and a.names[:2] == ("mul", NUMBER) and a.numbers[0][0] > 0:  # the factor goes outside
        outside = binary("mul", number(math.sqrt(a.numbers[0][0])), unary("sqrt", Piece(a.names[2:], a.numbers[1:])))
        return unary("neg", outside) if negative else outside
    piece = unary(INVERSES[name], a)
    return unary("neg", piece) if name == "square" and negative else piece
