"""One form for a law: what is printed, what is computed and what is counted are the same expression.

A program that was bred and the text that sympy prints of it may differ: ``sq(sqrt(x))`` is printed as x, and
``log(0.26*sqrt(2)*exp(f))`` says f less a number. A law is therefore rewritten once by sympy's automatic rules,
with the signs that the data have, and read back token by token; its printed form is then its program.
Constant parts become one number: the number that is recognised in them, or a measured one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import sympy
from numpy.typing import NDArray

from envs.symbolic.pointwise import evaluate_pointwise
from envs.symbolic.tokens import ABS, CONSTANT, MAX_LENGTH, Library, subtree_sizes
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import Piece, binary, chain, number, raised, unary

Values = NDArray[np.float64]
LARGEST_POWER = 64  # whole exponents that are written by squares and cubes
ROUNDS = 4  # of rewriting and reading back, until nothing changes
LARGEST_SQUARE = 10  # terms of a sum that may be the square of another
LARGEST_WHOLE = 10**6  # numerator or denominator of a number that is kept as exact

_FUNCTIONS: dict[type, str] = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.Abs: "abs",
    sympy.sign: "sign",
    sympy.Heaviside: "step",
    **{getattr(sympy, name): name for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")},
}

_BINARY: dict[type, str] = {sympy.Min: "min", sympy.Max: "max", sympy.atan2: "atan2"}


class UnsayableError(ValueError):
    """An expression that the tokens cannot say: complex, infinite, too large, or of other functions."""


def signs_of(X: Values, variables: Sequence[str]) -> dict[str, str]:
    """What the data X (n, d) say of each variable: "positive", "nonnegative", or nothing beyond being real."""
    least = X.min(axis=0)
    named = zip(variables, least.tolist(), strict=True)
    return {name: "positive" if low > 0 else "nonnegative" for name, low in named if low >= 0}


def canonical(law: Law, signs: Mapping[str, str]) -> Law:
    """The law in the form that is printed; itself where that form cannot be said in tokens.

    >>> from envs.symbolic.text import parse
    >>> from rl_suite.symbolic.laws.pieces import from_program
    >>> library = Library("full", ["x"], constant=True)
    >>> read = parse("log(0.5*exp(x))*2.5 + sin(4)", library)
    >>> law = from_program(read.program, read.constants.tolist(), library).law(library)
    >>> print(canonical(law, {}))
    2.5*x - 2.4897
    """
    for _ in range(ROUNDS):
        try:
            found = _read(_shortest(law.sympy(signs)), law.library)
        except (UnsayableError, OverflowError):
            return law
        if np.array_equal(found.program, law.program):
            return found
        law = found
    return law


def _read(expression: sympy.Expr, library: Library) -> Law:
    piece = as_piece(expression)
    if len(piece.names) > MAX_LENGTH or not all(math.isfinite(value) for value, _ in piece.numbers):
        raise UnsayableError("too large")
    return piece.law(library)


def _shortest(expression: sympy.Expr) -> sympy.Expr:
    """The expression without redundant numbers, and with logarithms of products taken apart where that is shorter."""
    expression = _normal(expression)
    if not expression.has(sympy.log):
        return expression
    apart = _normal(sympy.expand_log(expression))
    return min(expression, apart, key=lambda e: (_size(e), sympy.default_sort_key(e)))


def _size(expression: sympy.Expr) -> int:
    try:
        return len(as_piece(expression).names)
    except (UnsayableError, OverflowError):
        return MAX_LENGTH


def _normal(expression: sympy.Expr) -> sympy.Expr:
    """Fold constant parts, take numbers out of exp(a + f), and make the first factor of a measured sum 1."""
    if expression.is_number:
        return _folded(expression)
    if not expression.args:
        return expression
    parts = [_normal(part) for part in expression.args]
    if parts != list(expression.args):
        expression = expression.func(*parts)
    if expression.func is sympy.exp and expression.args[0].is_Add:
        constant, rest = expression.args[0].as_independent(*expression.free_symbols, as_Add=True)
        if constant != 0:
            return _folded(sympy.exp(constant)) * sympy.exp(rest)
    if expression.is_Pow and expression.base.is_Add and expression.exp.is_Rational and expression.exp.q == 2:
        root = _root_of_square(expression.base)
        if root is not None:
            return _normal(sympy.Abs(root) ** (2 * expression.exp))
    if expression.is_Pow and expression.base.is_Add and expression.exp.is_number:
        factor = _common_factor(expression.base)
        if factor != 1:
            return _folded(factor**expression.exp) * _divided(expression.base, factor) ** expression.exp
    if expression.is_Mul:
        return _with_plain_sums(expression)
    return expression


def _root_of_square(total: sympy.Expr) -> sympy.Expr | None:
    """f where a sum is f**2 for a polynomial f with exact coefficients: sqrt(x**2 - 2*x + 1) is Abs(x - 1)."""
    if len(total.args) > LARGEST_SQUARE or total.has(sympy.Float) or not total.is_polynomial(*total.free_symbols):
        return None
    front, factors = sympy.factor_list(total)
    if not (front.is_positive and all(power % 2 == 0 for _, power in factors)):
        return None
    return sympy.sqrt(front) * sympy.Mul(*(factor ** (power // 2) for factor, power in factors))


def _with_plain_sums(product: sympy.Expr) -> sympy.Expr:
    """A product whose sums of measured terms have first factors of 1: one number in front is enough."""
    front, factors = sympy.S.One, []
    for part in product.args:
        factor = _common_factor(part) if part.is_Add else sympy.S.One
        front *= factor
        factors.append(_divided(part, factor) if factor != 1 else part)
    if front == 1:
        return product
    constant = _folded(sympy.Mul(front, *(part for part in factors if part.is_number)))
    return constant * sympy.Mul(*(part for part in factors if not part.is_number))


def _split(term: sympy.Expr, total: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """The number in front of a term of a sum, and the rest."""
    factor, rest = term.as_independent(*total.free_symbols, as_Add=False)
    return factor, rest


def _common_factor(total: sympy.Expr) -> sympy.Expr:
    """What a sum is divided by, so that one number in front of it is enough; else 1.

    Where every term has a measured factor, that of one term becomes 1: the constant's beside an exponential
    (1 + k*exp(x)), that of the first term that varies otherwise. 1 + k*x is written as x + 1/k.
    """
    factors = [_split(term, total) for term in total.as_ordered_terms()]
    measured = [factor.has(sympy.Float) for factor, _ in factors]
    varying = [factor for factor, rest in factors if rest != 1]
    straight = all(rest == 1 or rest.is_Symbol for _, rest in factors) and varying[0].has(sympy.Float)
    if not (all(measured) or straight):
        return sympy.S.One
    plain = total.has(sympy.exp) and any(rest == 1 for _, rest in factors)
    size = next(factor for factor, rest in factors if (rest == 1) == plain)
    return size if size > 0 else -size


def _divided(total: sympy.Expr, divisor: sympy.Expr) -> sympy.Expr:
    """A sum by a number; what becomes 1 or -1 is no longer a measured number."""
    terms = []
    for factor, rest in (_split(term, total) for term in total.args):
        terms.append(rest if factor == divisor else -rest if factor == -divisor else factor / divisor * rest)
    return sympy.Add(*terms)


def _folded(constant: sympy.Expr) -> sympy.Expr:
    """A constant part as the number it is recognised as, or as one measured value."""
    exact = exact_number(constant)
    if exact is not None:
        return constant
    try:
        value = float(constant)
    except (TypeError, ValueError):
        raise UnsayableError(f"{constant} is not a real number") from None
    if not math.isfinite(value) or (value == 0 and constant != 0):
        raise UnsayableError(f"{constant} is beyond double precision")
    return sympy.Float(value)


def exact_number(expression: sympy.Expr) -> Exact | None:
    """The expression as fraction * pi ** power * root ** 0.5; None if it is another number, or a measured one."""
    rational, rest = expression.as_coeff_Mul()
    if not rational.is_Rational or max(abs(rational.p), rational.q) > LARGEST_WHOLE:
        return None
    power, root = Fraction(0), 1
    for factor in sympy.Mul.make_args(rest):
        base, exponent = factor.as_base_exp()
        if factor == 1:
            continue
        if base == sympy.pi and (2 * exponent).is_Integer and abs(exponent) <= 3:
            power += Fraction(int(2 * exponent), 2)
        elif base.is_Integer and base > 0 and exponent == sympy.S.Half and base <= LARGEST_POWER and root == 1:
            root = int(base)
        else:
            return None
    return Exact(Fraction(int(rational.p), int(rational.q)), power, root)


def as_piece(expression: sympy.Expr) -> Piece:
    """A sympy expression as tokens.

    Raises:
        UnsayableError: no tokens say it.
    """
    if expression.is_Symbol:
        return Piece((expression.name,))
    if expression.is_number:
        return _number_piece(expression)
    if expression.is_Add:
        return _sum_piece(expression)
    if expression.is_Mul:
        return _product_piece(expression)
    if expression.is_Pow:
        return _power_piece(expression.base, expression.exp)
    if expression.func in _BINARY:
        return _binary_piece(_BINARY[expression.func], expression.args)
    name = _FUNCTIONS.get(expression.func)
    if name is None:
        raise UnsayableError(f"no token says {expression.func}")
    return unary(name, as_piece(expression.args[0]))


def _number_piece(expression: sympy.Expr) -> Piece:
    exact = exact_number(expression)
    if exact is not None:
        return number(float(exact), exact)
    try:
        return number(float(expression))
    except (TypeError, ValueError):
        raise UnsayableError(f"{expression} is not a real number") from None


def _binary_piece(name: str, arguments: Sequence[sympy.Expr]) -> Piece:
    """Min and Max may have more than two arguments, in an order that sympy chooses."""
    ordered = arguments if name == "atan2" else sorted(arguments, key=sympy.default_sort_key)
    result = as_piece(ordered[0])
    for argument in ordered[1:]:
        result = binary(name, result, as_piece(argument))
    return result


def _sum_piece(expression: sympy.Expr) -> Piece:
    terms = expression.as_ordered_terms()
    terms.sort(key=lambda term: term.could_extract_minus_sign())  # stable: something positive to take away from first
    result = as_piece(terms[0])
    for term in terms[1:]:
        if term.could_extract_minus_sign():
            result = binary("sub", result, as_piece(-term))
        else:
            result = binary("add", result, as_piece(term))
    return result


def _product_piece(expression: sympy.Expr) -> Piece:
    constants = sympy.Mul(*(part for part in expression.args if part.is_number))
    above: list[Piece] = []
    below: list[Piece] = []
    for part in expression.as_ordered_factors():
        if part.is_number:
            continue
        base, exponent = part.as_base_exp()
        if exponent.is_Rational and exponent < 0 and part.is_Pow:
            below.append(_power_piece(base, -exponent))
        else:
            above.append(as_piece(part))
    negative = constants == -1
    if constants not in (1, -1):
        above.insert(0, _number_piece(constants))
    top, bottom = chain("mul", above), chain("mul", below)
    if bottom is None:
        result = top if top is not None else number(1.0, Exact(Fraction(1)))
    else:
        result = unary("inv", bottom) if top is None else binary("div", top, bottom)
    return unary("neg", result) if negative else result


def _power_piece(base: sympy.Expr, exponent: sympy.Expr) -> Piece:
    inner = as_piece(base)
    if exponent.is_Rational and abs(exponent) <= LARGEST_POWER:
        power = raised(inner, Fraction(int(abs(exponent.p)), int(exponent.q)))
        return power if exponent > 0 else unary("inv", power)
    return binary("pow", inner, as_piece(exponent))


def settled_laws(laws: Sequence[Law], signs: Mapping[str, str], datasets: Sequence[Values]) -> tuple[Law, ...]:
    """The laws of several datasets in one canonical form, or as they are where it differs between them.

    |f| is written as f or -f where f has one sign on all rows of ``datasets``, (n, d) each.
    """
    found = _one_form(laws, signs)
    plain = tuple(_without_sizes(law, X) for law, X in zip(found, datasets, strict=True))
    if plain == found or not all(np.array_equal(law.program, plain[0].program) for law in plain):
        return found
    return _one_form(plain, signs)


def _without_sizes(law: Law, X: Values) -> Law:
    """The law without absolute values of what has one sign at the points X (n, d); the same object if there is none."""
    opcodes = law.library.opcode[law.program]
    places = np.flatnonzero(opcodes == ABS)
    if len(places) == 0:
        return law
    sizes, program, kept = subtree_sizes(law.program, law.library), law.program.copy(), np.full(len(opcodes), True)
    for at in places.tolist():
        inside = slice(at + 1, at + int(sizes[at]))
        before = int((opcodes[: at + 1] == CONSTANT).sum())
        values = evaluate_pointwise(law.program[inside], X, law.library, law.constants[before:])
        if (values >= 0).all():
            kept[at] = False
        elif (values <= 0).all():
            program[at] = law.library.id("neg")
    return replace(law, program=program[kept]) if not np.array_equal(program[kept], law.program) else law


def _one_form(laws: Sequence[Law], signs: Mapping[str, str]) -> tuple[Law, ...]:
    found = [canonical(law, signs) for law in laws]
    same = all(np.array_equal(law.program, found[0].program) and law.exact == found[0].exact for law in found)
    return tuple(replace(law, exact=found[0].exact) for law in found) if same else tuple(laws)
