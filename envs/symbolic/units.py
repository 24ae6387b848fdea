"""Units as vectors of exponents, read from text.

A unit is a row of whole numbers: exponents of the base units times ``SCALE``, so that square, cube and
fourth roots stay exact.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.tokens import Library

SCALE = 12
MAX_POWER = 8  # exponents beyond +-8 are neither read nor searched

Unit = NDArray[np.int64]  # (U,) exponents times SCALE

SI = ("m", "kg", "s", "A", "K")
# Names that people write instead of base units, as powers of m, kg, s, A, K.
DERIVED: dict[str, tuple[int, int, int, int, int]] = {
    "g": (0, 1, 0, 0, 0),
    "rad": (0, 0, 0, 0, 0),
    "Hz": (0, 0, -1, 0, 0),
    "N": (1, 1, -2, 0, 0),
    "J": (2, 1, -2, 0, 0),
    "W": (2, 1, -3, 0, 0),
    "Pa": (-1, 1, -2, 0, 0),
    "C": (0, 0, 1, 1, 0),
    "V": (2, 1, -3, -1, 0),
    "ohm": (2, 1, -3, -2, 0),
    "F": (-2, -1, 4, 2, 0),
    "H": (2, 1, -2, -2, 0),
    "T": (0, 1, -2, -1, 0),
    "Wb": (2, 1, -2, -1, 0),
}

_FACTOR = re.compile(r"\s*([*/]?)\s*([A-Za-z]\w*|1)\s*(?:(?:\^|\*\*)\s*(?:\(\s*(-?\d+)(?:/(\d+))?\s*\)|(-?\d+)))?\s*")


def parse_units(text: str) -> dict[str, Fraction]:
    """Read ``"kg*m/s^2"`` as powers of base units; SI's derived names are known, others stand for themselves.

    Raises:
        ValueError: text that is not a product of powers, or powers beyond ``MAX_POWER``.

    >>> {name: str(power) for name, power in parse_units("N*m^(1/2)").items()}
    {'m': '3/2', 'kg': '1', 's': '-2'}
    """
    powers: dict[str, Fraction] = {}
    position = 0
    while position < len(text.strip()):
        match = _FACTOR.match(text, position)
        if match is None or (position > 0) != bool(match[1]):
            raise ValueError(f"unit {text!r} is not a product of powers such as 'kg*m/s^2' (column {position + 1})")
        exponent = Fraction(int(match[3] or match[5] or 1), max(1, int(match[4] or 1)))
        if match[1] == "/":
            exponent = -exponent
        for name, power in _base_powers(match[2]):
            powers[name] = powers.get(name, Fraction(0)) + exponent * power
        position = match.end()
    powers = {name: power for name, power in powers.items() if power != 0}
    for name, total in powers.items():
        if abs(total) > MAX_POWER or (total * SCALE).denominator != 1:
            raise ValueError(f"unit {text!r}: the power {total} of {name} is beyond {MAX_POWER} or too odd a fraction")
    return powers


def _base_powers(name: str) -> list[tuple[str, int]]:
    if name == "1":
        return []
    if name in DERIVED:
        return list(zip(SI, DERIVED[name], strict=True))
    return [(name, 1)]


def format_unit(unit: Unit, base: Sequence[str]) -> str:
    """The unit as text, "1" for a pure number."""
    parts = []
    for name, exponent in zip(base, unit.tolist(), strict=True):
        power = Fraction(exponent, SCALE)
        if power:
            written = str(power) if power.denominator == 1 else f"({power})"
            parts.append(name if power == 1 else f"{name}^{written}")
    return "*".join(parts) or "1"


@dataclass(frozen=True)
class Units:
    """The units of one dataset.

    Attributes:
        base: names of the base units (U).
        variables: (d, U) units of the variables, in the library's order.
        target: (U,) unit of y.
        free_constant: whether a fitted constant may have any unit; otherwise it is a pure number.
    """

    base: tuple[str, ...]
    variables: NDArray[np.int64]
    target: Unit
    free_constant: bool = False

    @staticmethod
    def from_text(
        variables: Sequence[str], units: Mapping[str, str], target: str, free_constant: bool = False
    ) -> "Units":
        """Build from ``{"m": "kg", "v": "m/s"}`` and ``"J"``; every variable must be named.

        Raises:
            ValueError: a variable without a unit, a unit without a variable, unreadable text.

        >>> units = Units.from_text(["m", "v"], {"m": "kg", "v": "m/s"}, "J")
        >>> units.base, (units.target // SCALE).tolist()
        (('kg', 'm', 's'), [1, 2, -2])
        """
        missing, extra = [n for n in variables if n not in units], [n for n in units if n not in variables]
        if missing or extra:
            raise ValueError(
                "units must name every variable and nothing else (write '1' for pure numbers):"
                f" missing {missing or 'none'}, unknown {extra or 'none'}"
            )
        read = [parse_units(units[name]) for name in variables]
        wanted = parse_units(target)
        base = tuple(sorted({name for powers in [*read, wanted] for name in powers}))
        rows = [[int(powers.get(name, Fraction(0)) * SCALE) for name in base] for powers in [*read, wanted]]
        table = np.array(rows, dtype=np.int64).reshape(len(rows), len(base))
        return Units(base, table[:-1], table[-1], free_constant)

    @staticmethod
    def from_powers(
        base: Sequence[str], variables: NDArray[np.int64], target: NDArray[np.int64], free_constant: bool = False
    ) -> "Units":
        """Build from whole exponents of ``base``: variables (d, U), target (U,)."""
        table, wanted = np.asarray(variables, dtype=np.int64), np.asarray(target, dtype=np.int64)
        return Units(tuple(base), SCALE * table, SCALE * wanted, free_constant)

    def of_tokens(self, library: Library) -> NDArray[np.int64]:
        """Unit of every token of a library, (n, U); pure numbers for all but the variables."""
        if len(self.variables) != library.n_variables:
            raise ValueError(f"{len(self.variables)} units were given for {library.n_variables} variables")
        table = np.zeros((len(library), len(self.base)), dtype=np.int64)
        table[library.index >= 0] = self.variables[library.index[library.index >= 0]]
        return table
