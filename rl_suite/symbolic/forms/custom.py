"""Functions of one's own, given as formulas: ``{"hill": "x**n/(k**n + x**n)"}``.

``x``, ``y`` and ``z`` are a function's arguments, every other name is a number that is fitted. A formula is read by our
own parser and spelled out in the tokens that it is made of, so that laws are printed without new names. Before anything
is bred, each function is tried on every column, alone, scaled and shifted inside, times and beside each other column.

A number of a law stands in one place. A formula that repeats one is rewritten where that is possible (Hill's becomes
``1/(1 + p*x**(-n))``); else the number is fitted in each of its places.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from envs.symbolic.fitting import fit_constants
from envs.symbolic.text import parse
from envs.symbolic.tokens import FUNCTION_ALIASES, NAMED_NUMBERS, OPERATIONS, Library, pad_programs
from rl_suite.symbolic.laws.canonical import UnsayableError, as_piece
from rl_suite.symbolic.laws.pieces import NUMBER, Piece, binary, from_program, number
from rl_suite.symbolic.laws.skeleton import substitute

Values = NDArray[np.float64]
ARGUMENTS = ("x", "y", "z")
MOST_FUNCTIONS, MOST_PLACES, MOST_PARAMETERS = 20, 30, 8
MOST_OTHERS = 6  # columns up to which each is tried beside a function
RESTARTS, STEPS, FIT_ROWS = 4, 40, 200
OFFERED = 3  # laws of each function that are handed to the search, best first
_NAME = re.compile(r"[A-Za-z_]\w*")
PARAMETER = "parameter_"
ROUNDING = 1e-20  # of the variance


@dataclass(frozen=True)
class Custom:
    """A function by its formula; ``bodies`` say it over x, y, z and ``parameter_...`` for fitted numbers."""

    name: str
    formula: str
    arguments: tuple[str, ...]
    bodies: tuple[Piece, ...]


def read_functions(given: Any, usual: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Custom, ...]]:
    """Names of built-in functions, and functions of one's own.

    Args:
        given: names, or a mapping of new names to formulas (beside the ``usual`` functions), or names and mappings
            in one list; None: the usual ones.
        usual: functions of a search that names none.

    Raises:
        ValueError: an unknown name, a formula that cannot be read, with its place.

    >>> names, own = read_functions(["add", "mul", {"hill": "x**n/(k**n + x**n)"}], ())
    >>> names, own[0].arguments
    (('add', 'mul'), ('x',))
    """
    if given is None:
        return usual, ()
    if isinstance(given, Mapping):
        return usual, _customs(given)
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValueError(f"functions: {given!r} must be a list of names, or a mapping of names to formulas")
    names: list[str] = []
    customs: dict[str, Any] = {}
    for item in given:
        if isinstance(item, Mapping):
            customs |= item
        elif item not in OPERATIONS:
            raise ValueError(f"functions: {item!r} is not known; known: {', '.join(OPERATIONS)}")
        else:
            names.append(str(item))
    if not names and not customs:
        raise ValueError("functions: none is given; name some, or None for the usual ones")
    return tuple(names) or usual, _customs(customs)


def _customs(given: Mapping[Any, Any]) -> tuple[Custom, ...]:
    if len(given) > MOST_FUNCTIONS:
        raise ValueError(f"functions: {len(given)} formulas were given; at most {MOST_FUNCTIONS} are tried")
    return tuple(read_custom(name, formula) for name, formula in given.items())


def read_custom(name: Any, formula: Any) -> Custom:
    """One function; ValueError that names it for what cannot be."""
    if not isinstance(name, str) or not name.isidentifier() or name in OPERATIONS or name in FUNCTION_ALIASES:
        raise ValueError(f"functions: {name!r} must be a new name of letters and digits")
    if not isinstance(formula, str):
        raise ValueError(f"functions.{name}: must be a formula such as 'x**n/(k**n + x**n)', not {formula!r}")
    known = {*OPERATIONS, *FUNCTION_ALIASES, *NAMED_NUMBERS}
    names = list(
        dict.fromkeys(n for n in _NAME.findall(re.sub(r"\d[\d.]*[eE][+-]?\d+", "0", formula)) if n not in known)
    )
    arguments = tuple(n for n in ARGUMENTS if n in names)
    parameters = [n for n in names if n not in ARGUMENTS]
    if not arguments:
        raise ValueError(f"functions.{name}: {formula!r} has no argument; call it x (and y, z)")
    if len(parameters) > MOST_PARAMETERS:
        raise ValueError(f"functions.{name}: {len(parameters)} numbers to fit are more than {MOST_PARAMETERS}")
    renamed = {n: f"{PARAMETER}{k}" for k, n in enumerate(parameters)}
    text = _NAME.sub(lambda found: renamed.get(found[0], found[0]), formula)
    variables = (*arguments, *renamed.values())
    try:
        written = parse(text, Library("full", variables, constant=True))
        values = {repr(abs(value)) for value in written.constants.tolist() if value not in (np.pi, -np.pi)}
        library = Library("full", variables, ("pi", *sorted(values)), constant=True)
        expression = parse(text, library)
    except ValueError as error:
        raise ValueError(f"functions.{name}: {error}") from None
    piece = from_program(expression.program, expression.constants.tolist(), library)
    return Custom(name, formula, arguments, (*_rewritten(piece, variables, arguments), piece))


def _rewritten(piece: Piece, variables: Sequence[str], arguments: Sequence[str]) -> list[Piece]:
    """The formula with fewer repeated numbers, if numerator over denominator can be turned over; else none."""
    signs = dict.fromkeys(variables, "positive")
    written = piece.law(Library("full", variables, constant=True)).sympy(signs)
    given = [symbol for symbol in written.free_symbols if symbol.name in arguments]
    top, bottom = sympy.fraction(sympy.together(written))
    forms = [written]
    if top != 0 and len(given) == len(arguments):
        forms.append(1 / sympy.powsimp(sympy.expand(bottom / top)))
    folded = [_folded(form, given) for form in forms]
    repeats = [sum(form.count(s) for s in form.free_symbols if s not in given) for form in folded]
    best = repeats.index(min(repeats))
    try:
        return [as_piece(folded[best])] if folded[best] != written else []
    except (UnsayableError, OverflowError):
        return []


def _folded(expression: sympy.Expr, arguments: Sequence[sympy.Symbol]) -> sympy.Expr:
    """The expression with each part that holds fitted numbers alone as one fitted number."""
    names: dict[sympy.Expr, sympy.Symbol] = {}

    def fold(part: sympy.Expr) -> sympy.Expr:
        if part.is_number or part in arguments:
            return part
        if not part.free_symbols & set(arguments):
            return names.setdefault(part, sympy.Symbol(f"{PARAMETER}{len(names)}", positive=True))
        if part.is_Add or part.is_Mul:
            alone, rest = part.as_independent(*arguments, as_Add=part.is_Add)
            parts = [fold(other) for other in part.func.make_args(rest)]
            return part.func(fold(alone), *parts)
        return part.func(*(fold(other) for other in part.args))

    return fold(expression)


def custom_laws(
    customs: Sequence[Custom], X: Values, y: Values, variables: tuple[str, ...], seed: int = 0
) -> Iterator[tuple[Piece, int]]:
    """Laws of X (n, d), y (n,) made of each function with fitted numbers, and how many forms were tried for each."""
    rows = np.linspace(0, len(y) - 1, min(len(y), FIT_ROWS)).astype(np.int64)
    for custom in customs:
        forms = list(_forms(custom, variables))
        fitted, left = _fitted(forms, X[rows], y[rows], variables, seed)
        size = np.log10(np.maximum(left, ROUNDING * max(float(y.var()), 1e-300)))
        order = sorted(range(len(forms)), key=lambda i: (float(np.round(size[i], 1)), len(forms[i].names)))
        for n, i in enumerate(order[:OFFERED]):
            if np.isfinite(left[i]):
                yield fitted[i], len(forms) if n == 0 else 1


def column_forms(customs: Sequence[Custom], variables: tuple[str, ...]) -> list[Piece]:
    """Functions without fitted numbers, of the columns as they are."""
    plain = [custom for custom in customs if not any(name.startswith(PARAMETER) for name in custom.bodies[-1].names)]
    places_of = [(custom, places) for custom in plain for places in permutations(variables, len(custom.arguments))]
    return [_applied(custom, custom.bodies[-1], [Piece((p,)) for p in places]) for custom, places in places_of]


def _forms(custom: Custom, variables: tuple[str, ...]) -> Iterator[Piece]:
    """f, c f, c + c f, with arguments scaled and shifted inside; times and beside each other column."""
    places_of = list(permutations(variables, len(custom.arguments)))[:MOST_PLACES]
    for body in custom.bodies:
        for inside in (form for places in places_of for form in _insides(custom, body, places)):
            front = binary("mul", _free(), inside)
            yield inside
            yield front
            yield binary("add", _free(), front)
            for other in [n for n in variables if n not in inside.names and len(variables) <= MOST_OTHERS]:
                yield binary("mul", Piece((other,)), front)
                yield binary("add", binary("mul", _free(), Piece((other,))), front)


def _insides(custom: Custom, body: Piece, places: Sequence[str]) -> Iterator[Piece]:
    """The function of the columns as they are, scaled, and (of one argument) shifted."""
    plain = [Piece((place,)) for place in places]
    yield _applied(custom, body, plain)
    scaled = [binary("mul", _free(), place) for place in plain]
    yield _applied(custom, body, scaled)
    if len(plain) == 1:
        yield _applied(custom, body, [binary("add", scaled[0], _free())])


def _applied(custom: Custom, body: Piece, arguments: Sequence[Piece]) -> Piece:
    """The formula with its arguments in place and a free number for every parameter."""
    piece = body
    for name, argument in zip(custom.arguments, arguments, strict=True):
        piece = substitute(piece, name, Piece(tuple(f"{name}#" if n == NUMBER else n for n in argument.names)))
    names: list[str] = []
    numbers = []
    given = iter(piece.numbers)
    for name in piece.names:
        if name == NUMBER:
            names.append(NUMBER)
            numbers.append(next(given))
        elif name.startswith(PARAMETER) or name.endswith("#"):
            names.append(NUMBER)
            numbers.append((1.0, None))
        else:
            names.append(name)
    return Piece(tuple(names), tuple(numbers))


def _free() -> Piece:
    return number(1.0)


def _fitted(
    forms: Sequence[Piece], X: Values, y: Values, variables: tuple[str, ...], seed: int
) -> tuple[list[Piece], Values]:
    """The forms with their fitted numbers at the least squares, and the mean squares that are left, (forms,)."""
    held = sorted({abs(value) for form in forms for value, exact in form.numbers if exact is not None})
    library = Library("full", variables, [repr(value) for value in held], constant=True)
    constant = library.tokens[library.constant_id].name
    programs, starts = [], np.ones((len(forms), max(1, max(len(form.numbers) for form in forms))))
    for row, form in enumerate(forms):
        given = iter(form.numbers)
        names: list[str] = []
        for name in form.names:
            value, exact = next(given) if name == NUMBER else (0.0, None)
            sign = ["neg"] if exact is not None and value < 0 else []
            number_name = constant if exact is None else repr(abs(value))
            names += [*sign, number_name] if name == NUMBER else [name]
        programs.append(library.encode(names))
        free = [value for value, exact in form.numbers if exact is None]
        starts[row, : len(free)] = free
    padded, lengths = pad_programs(programs)
    fits = fit_constants(padded, lengths, X, y, library, starts, RESTARTS, STEPS, seed=seed)
    fitted = []
    for row, form in enumerate(forms):
        found = iter(fits.constants[row].tolist())
        numbers = [(value, exact) if exact is not None else (next(found), None) for value, exact in form.numbers]
        fitted.append(Piece(form.names, tuple(numbers)))
    return fitted, fits.mean_square
