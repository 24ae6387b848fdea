"""Constants of nature that a law may be written with: columns that are the same in every row, and have units.

Without them a law such as ``1/(exp(hbar*omega/(k_B*T)) - 1)`` needs numbers of odd units, which take the sense out of
checking units. With them every law is one of the columns and of these, and the numbers in it are pure.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import constants as codata

from envs.symbolic.tokens import Library
from envs.symbolic.units import Units
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import number, piece_of
from rl_suite.symbolic.laws.skeleton import substitute


@dataclass(frozen=True)
class Constant:
    """A constant of nature: its name in formulas, and its value in a unit."""

    name: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name} = {self.value:.6g} {self.unit}"


KNOWN = {
    constant.name: constant
    for constant in (
        Constant("c", codata.c, "m/s"),
        Constant("h", codata.h, "J*s"),
        Constant("hbar", codata.hbar, "J*s"),
        Constant("k_B", codata.k, "J/K"),
        Constant("q_e", codata.e, "C"),
        Constant("m_e", codata.m_e, "kg"),
        Constant("m_p", codata.m_p, "kg"),
        Constant("epsilon_0", codata.epsilon_0, "F/m"),
        Constant("mu_0", codata.mu_0, "N/A^2"),
        Constant("mu_B", codata.value("Bohr magneton"), "J/T"),
        Constant("G", codata.G, "m^3/(kg*s^2)"),
        Constant("g_n", codata.g, "m/s^2"),
        Constant("N_A", codata.N_A, "1/mol"),
        Constant("R", codata.R, "J/(mol*K)"),
        Constant("sigma_SB", codata.sigma, "W/(m^2*K^4)"),
    )
}
"""By name, as CODATA has them in scipy: those that a user may name without a value."""


def read_nature(given: Any) -> tuple[Constant, ...]:
    """Constants from their names, or from a mapping of names of one's own to values with units.

    Raises:
        ValueError: a name that is not known, or a value that cannot be read.

    >>> [constant.name for constant in read_nature(["c", "k_B"])]
    ['c', 'k_B']
    >>> read_nature({"mu": "3.986e14 m^3/s^2"})
    (Constant(name='mu', value=398600000000000.0, unit='m^3/s^2'),)
    """
    if isinstance(given, Mapping):
        return tuple(_read(str(name), text) for name, text in given.items())
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValueError(f"nature={given!r}: must be a list of names, or a mapping of names to values with units")
    for name in given:
        if name not in KNOWN:
            near = get_close_matches(str(name), KNOWN, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KNOWN)}"
            raise ValueError(f"nature: {str(name)[:60]!r} is not known; {hint}")
    return tuple(KNOWN[name] for name in dict.fromkeys(given))


def _read(name: str, text: Any) -> Constant:
    value, _, unit = str(text).strip().partition(" ")
    try:
        size = float(value)
    except ValueError:
        size = math.nan
    if not math.isfinite(size) or size == 0:
        raise ValueError(f"nature: {name[:60]!r} is {str(text)[:60]!r}; write a number other than 0 and its unit")
    return Constant(name, size, unit.strip() or "1")


def beside(
    X: NDArray[np.float64], names: Sequence[str], units: Units | None, constants: Sequence[Constant]
) -> tuple[NDArray[np.float64], tuple[str, ...], Units | None]:
    """Columns X (n, d), their names and units with those of the constants behind them.

    Raises:
        ValueError: a column has the name of a constant, a name means something else in formulas, a unit cannot be
            read, or no units are known.
    """
    if not constants:
        return X, tuple(names), units
    if units is None:
        raise ValueError("nature: its constants have units; give the units of all columns too")
    for constant in constants:
        if constant.name in names:
            raise ValueError(f"nature: a column is called {constant.name!r} as well; rename it")
        Library("full", [constant.name])  # refuses names that mean something else in formulas
    values = np.broadcast_to([constant.value for constant in constants], (len(X), len(constants)))
    everything = np.ascontiguousarray(np.column_stack([X, values]))
    return everything, (*names, *(c.name for c in constants)), units.joined([c.unit for c in constants])


def as_numbers(law: Law, constants: Sequence[Constant]) -> Law:
    """The law of the columns alone, with the values of the constants in it."""
    names = {constant.name for constant in constants}
    variables = tuple(name for name in law.library.variables if name not in names)
    piece = piece_of(law)
    for constant in constants:
        if constant.name in piece.names:
            value = number(constant.value, Exact(Fraction(constant.value), given=True))
            piece = substitute(piece, constant.name, value)
    return piece.law(Library("full", variables, constant=True))
