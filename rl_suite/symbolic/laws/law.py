"""A law: an expression with numbers, which can be computed, written as text, LaTeX or sympy, and compared.

Every output is built from the tokens; no text is ever parsed to make one.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy
from numpy.typing import NDArray

from envs.symbolic.pointwise import evaluate_pointwise
from envs.symbolic.tokens import CONSTANT, COS, LITERAL, POW, SIN, TAN, VARIABLE, Library, Program
from rl_suite.symbolic.laws.names import latex_name
from rl_suite.symbolic.laws.numbers import SCALE_BITS, Exact

Values = NDArray[np.float64]

_SYMPY_1 = {
    "neg": lambda a: -a,
    "inv": lambda a: 1 / a,
    "sq": lambda a: a**2,
    "cube": lambda a: a**3,
    "sqrt": sympy.sqrt,
    "abs": sympy.Abs,
    "sign": sympy.sign,
    "step": lambda a: sympy.Heaviside(a, 1),
    **{name: getattr(sympy, name) for name in ("exp", "log", "sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: getattr(sympy, name) for name in ("sinh", "cosh", "tanh")},
}
_SYMPY_2 = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "min": sympy.Min,
    "max": sympy.Max,
    "atan2": sympy.atan2,
}
LITERAL_VALUES = {"pi": sympy.pi, "e": sympy.E}
EXPONENT_WEIGHT = 2  # in the complexity, of an exponent that is no simple number


@dataclass(frozen=True, eq=False)
class Law:
    """An expression over the tokens of ``library`` with the values of its constants.

    ``exact[i]`` is the number that constant i was recognised as, or None for a measured value.
    """

    library: Library
    program: Program  # (L,)
    constants: Values  # (k,)
    exact: tuple[Exact | None, ...]

    def predict(self, X: Values) -> Values:
        """Values at the points X (n, d); NaN where the expression is not finite; (n,)."""
        return evaluate_pointwise(self.program, X, self.library, self.constants)

    @cached_property
    def exponents(self) -> frozenset[int]:
        """Which constants are exponents."""
        k, found = len(self.constants), set()
        stack: list[int] = []  # the constant that an operand is, or -1
        for i in self.program[::-1].tolist():
            token = self.library.tokens[i]
            if token.opcode == CONSTANT:
                k -= 1
                stack.append(k)
            elif token.arity == 2:
                stack.pop()
                if token.opcode == POW:
                    found.add(stack[-1])
                stack[-1] = -1
            elif token.arity == 1:
                stack[-1] = -1
            else:
                stack.append(-1)
        return frozenset(found - {-1})

    @property
    def measured_exponents(self) -> int:
        """Exponents that are no simple numbers."""
        return sum(self.exact[k] is None for k in self.exponents)

    @property
    def periodic_functions(self) -> int:
        """Number of sines, cosines and tangents."""
        return int(np.isin(self.library.opcode[self.program], (SIN, COS, TAN)).sum())

    @property
    def complexity(self) -> int:
        """Sum of the complexity weights of the tokens; an exponent that is no simple number weighs more."""
        return int(self.library.complexity[self.program].sum()) + EXPONENT_WEIGHT * self.measured_exponents

    @property
    def number_bits(self) -> tuple[float, ...]:
        """Description length of each recognised number; measured constants are priced by the data."""
        return tuple(e.bits for e in self.exact if e is not None and e.bits < SCALE_BITS)

    @property
    def n_free(self) -> int:
        """Number of measured constants."""
        return sum(e is None for e in self.exact)

    @cached_property
    def constant_names(self) -> tuple[str, ...]:
        """A name that no variable has for each measured constant, c1, c2, ...; "" for recognised numbers."""
        prefix = "c"
        while any(name.startswith(prefix) for name in self.library.variables):
            prefix += "_"
        numbers = itertools.count(1)
        return tuple(f"{prefix}{next(numbers)}" if e is None else "" for e in self.exact)

    def sympy(self, signs: Mapping[str, str] | None = None, floats: bool = False, named: bool = False) -> sympy.Expr:
        """As a sympy expression over real symbols; recognised numbers are exact unless ``floats``.

        ``signs``: variables that are known to be "positive" or "nonnegative".
        ``named``: measured constants are symbols, which stand for different numbers in different datasets.
        """
        known_signs = signs or {}
        stack: list[sympy.Expr] = []
        k = len(self.constants)
        for i in self.program[::-1]:
            token = self.library.tokens[int(i)]
            if token.opcode == VARIABLE:
                sign = known_signs.get(token.name)
                stack.append(sympy.Symbol(token.name, real=True, **({sign: True} if sign else {})))
            elif token.opcode == LITERAL:
                stack.append(LITERAL_VALUES[token.name] if token.name in LITERAL_VALUES else sympy.Rational(token.name))
            elif token.opcode == CONSTANT:
                k -= 1
                known = self.exact[k]
                if named and known is None:
                    stack.append(sympy.Symbol(self.constant_names[k], real=True))
                    continue
                stack.append(sympy.Float(self.constants[k]) if known is None or floats else known.sympy())
            elif token.arity == 1:
                stack.append(_SYMPY_1[token.name](stack.pop()))
            else:
                left = stack.pop()
                stack.append(_SYMPY_2[token.name](left, stack.pop()))
        return stack[0]

    def latex(self, digits: int = 5, named: bool = False) -> str:
        """As LaTeX, with measured constants to ``digits`` significant digits, or ``named``."""
        expression = self.sympy(named=named)
        rounded = {number: sympy.Float(number, digits) for number in expression.atoms(sympy.Float)}
        printed = expression.xreplace(rounded)
        return str(sympy.latex(printed, symbol_names={s: latex_name(s.name) for s in printed.free_symbols}))

    def infix(self, digits: int = 5, named: bool = False) -> str:
        """As readable text, simplified by sympy's automatic rules only; measured constants may be ``named``."""
        expression = self.sympy(named=named)
        rounded = {number: sympy.Float(number, digits) for number in expression.atoms(sympy.Float)}
        return str(expression.xreplace(rounded))

    def __str__(self) -> str:
        return self.infix()
