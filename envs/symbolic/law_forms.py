"""The form of a law: what is left of it when its numbers and signs are taken away.

``-9.81*theta/L`` and ``k*x/m`` have the form ``x0/x1``; ``m*(1 - v**2/c**2)`` has ``x0*(1 + x1**2/x2**2)``. A form is
a tree in one normal order (sums and products are flat, powers are gathered), so that one law is written in one
way. Its *program* has prefix tokens of :func:`form_library`; ``fitted_forms.py`` puts constants back where a
law may have some.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from envs.symbolic.text import Expression
from envs.symbolic.tokens import CONSTANT, LITERAL, VARIABLE, Library, Program

FUNCTIONS = ("exp", "log", "sin", "cos", "tanh", "asin")  # what no power can express
QUARTERS = {"sq": 8, "cube": 12, "sqrt": 2, "inv": -4}
FORM_OPERATIONS = ("add", "mul", "div", *QUARTERS, *FUNCTIONS)

# ("x", column) | ("1",) | ("sum", terms) | ("product", ((base, quarters of the exponent), ...)) | (function, form)
Form = tuple  # type: ignore[type-arg]
ONE: Form = ("1",)
WHOLE, HALF = 4, 2  # exponents are counted in quarters: roots of roots are the smallest
MAX_POWER = 8  # absolute value of an exponent that can be written


@lru_cache(maxsize=64)
def form_library(n_variables: int) -> Library:
    """Tokens of forms, the number 1, the fitted constant, then x0 ...; ids do not depend on ``n_variables``."""
    return Library(FORM_OPERATIONS, n_variables, literals=("1",), constant=True)


def total(terms: Iterable[Form]) -> Form:
    """A sum of forms, flat; terms that differ by a factor are one, two of them if they have numbers inside."""
    flat: dict[Form, int] = {}
    for outer in terms:
        for term in outer[1] if outer[0] == "sum" else (outer,):
            flat[term] = min(flat.get(term, 0) + 1, 2 if has_function(term) else 1)
    every = [term for term, count in flat.items() for _ in range(count)]
    return every[0] if len(every) == 1 else ("sum", tuple(sorted(every, key=repr)))


def product(factors: Iterable[tuple[Form, int]]) -> Form:
    """A product of powers (base, quarters of the exponent), flat, equal bases gathered.

    Raises:
        ValueError: a root of a root of a root.
    """
    powers: dict[Form, int] = {}
    for outer, exponent in factors:
        for base, own in outer[1] if outer[0] == "product" else ((outer, WHOLE),):
            if base != ONE:
                if own * exponent % WHOLE:
                    raise ValueError("exponents below one quarter are no form of a law")
                powers[base] = powers.get(base, 0) + own * exponent // WHOLE
    kept = tuple(sorted(((b, e) for b, e in powers.items() if e), key=repr))
    if not kept:
        return ONE
    return kept[0][0] if len(kept) == 1 and kept[0][1] == WHOLE else ("product", kept)


def has_function(form: Form) -> bool:
    """Whether exp, log, ... is in it, whose argument has numbers of its own."""
    kind = form[0]
    if kind == "sum":
        return any(has_function(term) for term in form[1])
    if kind == "product":
        return any(has_function(base) for base, _ in form[1])
    return kind not in ("x", "1")


def size(form: Form) -> int:
    """Variables, numbers, functions and powers of a form."""
    kind = form[0]
    if kind == "sum":
        return sum(size(term) for term in form[1])
    if kind == "product":
        return sum(size(base) + (exponent != WHOLE) for base, exponent in form[1])
    return 1 if kind in ("x", "1") else 1 + size(form[1])


def columns_of(form: Form) -> set[int]:
    """Columns that a form uses."""
    kind = form[0]
    if kind == "x":
        return {form[1]}
    if kind == "1":
        return set()
    if kind == "sum":
        return set().union(*(columns_of(term) for term in form[1]))
    if kind == "product":
        return set().union(*(columns_of(base) for base, _ in form[1]))
    return columns_of(form[1])


def renamed(form: Form, columns: Sequence[int]) -> Form:
    """The form with ``columns[i]`` in the place of column i, in normal order again."""
    return substituted(form, [("x", int(column)) for column in columns])


def substituted(form: Form, parts: Sequence[Form]) -> Form:
    """The form with the form ``parts[i]`` in the place of column i, in normal order; ValueError as in ``product``."""
    kind = form[0]
    if kind == "x":
        part: Form = parts[form[1]]
        return part
    if kind == "1":
        return form
    if kind == "sum":
        return total([substituted(term, parts) for term in form[1]])
    if kind == "product":
        return product([(substituted(base, parts), exponent) for base, exponent in form[1]])
    return (kind, substituted(form[1], parts))


def form_of(expression: Expression, library: Library) -> Form:
    """The form of a law.

    Raises:
        ValueError: no variable in it, an exponent that is no number, a function that forms do not have.

    >>> from envs.symbolic.text import parse
    >>> lib = Library("full", ["m", "v", "c"], constant=True)
    >>> write(form_of(parse("-2*m*(1 - v**2/c**2)", lib), lib))
    ['mul', 'x0', 'add', '1', 'div', 'sq', 'x1', 'sq', 'x2']
    """
    stack: list[Form | float] = []
    left = len(expression.constants)
    for i in expression.program[::-1]:
        token = library.tokens[int(i)]
        if token.opcode == VARIABLE:
            stack.append(("x", token.index))
        elif token.opcode == LITERAL:
            stack.append(token.value)
        elif token.opcode == CONSTANT:
            left -= 1
            stack.append(float(expression.constants[left]))
        else:
            arguments = [stack.pop() for _ in range(token.arity)]
            stack.append(_applied(token.name, arguments))
    if isinstance(stack[0], float):
        raise ValueError("a number alone is no law")
    return stack[0]


def _applied(name: str, arguments: list[Form | float]) -> Form | float:
    """One operation on forms and numbers; numbers among themselves stay some number."""
    if all(isinstance(a, float) for a in arguments):
        return 1.5  # which one does not matter, but it is no exponent
    if name == "pow":
        base, exponent = arguments
        quarters = exponent * WHOLE if isinstance(exponent, float) else 0.5
        if isinstance(base, float) or not float(quarters).is_integer():
            raise ValueError("an exponent that is no number, or below a quarter, is no form of a law")
        return product([(base, int(quarters))])
    forms = [ONE if isinstance(a, float) else a for a in arguments]
    if name in ("add", "sub"):
        return total(forms)
    if name == "mul":
        return product([(f, WHOLE) for f in forms])
    if name == "div":
        return product([(forms[0], WHOLE), (forms[1], -WHOLE)])
    if name in QUARTERS:
        return product([(forms[0], QUARTERS[name])])
    if name in ("neg", "abs"):
        return forms[0]
    if name not in FUNCTIONS:
        raise ValueError(f"{name} is no function of forms")
    return (name, forms[0])


def write(form: Form) -> list[str]:
    """Token names in prefix order."""
    names = _NAMES
    return [names[i] if i < _FIRST_VARIABLE else f"x{i - _FIRST_VARIABLE}" for i in _ids(form)]


def encode(form: Form) -> Program:
    """Ids in any library of :func:`form_library` that has the columns, (L,); arguments that may change places
    stand in the order of their length, then of their ids.
    """
    return np.array(_ids(form), np.int16)


def _ids(form: Form) -> list[int]:
    kind = form[0]
    if kind == "x":
        return [_FIRST_VARIABLE + form[1]]
    if kind == "1":
        return [_IDS["1"]]
    if kind == "sum":
        return _chain("add", [_ids(term) for term in form[1]])
    if kind == "product":
        return _product_ids(form[1])
    return [_IDS[kind], *_ids(form[1])]


def decode(program: Iterable[int]) -> Form:
    """The normal form of a program, which may be written in any order; ValueError where it is none."""
    stack: list[Form] = []
    for token in list(program)[::-1]:
        if token >= _FIRST_VARIABLE:
            stack.append(("x", int(token) - _FIRST_VARIABLE))
            continue
        name = _NAMES[int(token)]
        if name == "1" or name == "c":
            stack.append(ONE)
        elif name == "add":
            stack.append(total([stack.pop(), stack.pop()]))
        elif name == "mul":
            stack.append(product([(stack.pop(), WHOLE), (stack.pop(), WHOLE)]))
        elif name == "div":
            stack.append(product([(stack.pop(), WHOLE), (stack.pop(), -WHOLE)]))
        elif name in QUARTERS:
            stack.append(product([(stack.pop(), QUARTERS[name])]))
        else:
            stack.append((name, stack.pop()))
    return stack[0]


def _chain(operation: str, parts: list[list[int]]) -> list[int]:
    """a, b, c -> operation a operation b c, in normal order."""
    parts = sorted(parts, key=lambda part: (len(part), part))
    tokens: list[int] = []
    for part in parts[:-1]:
        tokens += [_IDS[operation], *part]
    return tokens + parts[-1]


def _product_ids(powers: tuple[tuple[Form, int], ...]) -> list[int]:
    above: list[list[int]] = []
    below: list[list[int]] = []
    for roots, unit in ((0, WHOLE), (1, HALF), (2, 1)):
        chosen = [(b, e // unit) for b, e in powers if _finest(e) == unit]
        top = [part for b, e in chosen if e > 0 for part in _power(b, e)]
        bottom = [part for b, e in chosen if e < 0 for part in _power(b, -e)]
        if roots == 0:
            above, below = top, bottom
        elif top:  # one root for both: sqrt(x/y)
            above.append([_IDS["sqrt"]] * roots + _fraction(top, bottom))
        elif bottom:
            below.append([_IDS["sqrt"]] * roots + _fraction(bottom, []))
    return _fraction(above, below)


def _finest(exponent: int) -> int:
    return WHOLE if exponent % WHOLE == 0 else HALF if exponent % HALF == 0 else 1


def _fraction(above: list[list[int]], below: list[list[int]]) -> list[int]:
    if not below:
        return _chain("mul", above)
    if not above:
        return [_IDS["inv"], *_chain("mul", below)]
    return [_IDS["div"], *_chain("mul", above), *_chain("mul", below)]


def _power(base: Form, exponent: int) -> list[list[int]]:
    """The factors that make up a whole power."""
    if exponent > MAX_POWER:
        raise ValueError(f"an exponent above {MAX_POWER} is no form of a law")
    tokens = _ids(base)
    return [[*(_IDS[name] for name in names), *tokens] for names in POWER_NAMES[exponent]]


# One entry per factor: x^5 is x times the square of a square.
POWER_NAMES: dict[int, list[tuple[str, ...]]] = {
    1: [()], 2: [("sq",)], 3: [("cube",)], 4: [("sq", "sq")], 5: [(), ("sq", "sq")], 6: [("sq", "cube")],
    7: [(), ("sq", "cube")], 8: [("sq", "sq", "sq")],
}  # fmt: skip
_NAMES = [token.name for token in form_library(1).tokens[:-1]]
_IDS = {name: i for i, name in enumerate(_NAMES)}
_FIRST_VARIABLE = len(_NAMES)
