"""Units as vectors of exponents, read from text.

A unit is a row of whole numbers: exponents of the base units times ``SCALE``, so that square, cube and
fourth roots stay exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.tokens import Library
from envs.symbolic.unit_text import MAX_POWER, Scale, read_unit

__all__ = ["MAX_POWER", "SCALE", "Unit", "Units", "format_unit", "parse_units"]
SCALE = 12

Unit = NDArray[np.int64]  # (U,) exponents times SCALE


def parse_units(text: str) -> dict[str, Fraction]:
    """Read ``"kg*m/s^2"`` as powers of base units, whatever its size in them (:func:`~.unit_text.read_unit`).

    Raises:
        ValueError: text that is not a product of powers of known units, or powers beyond ``MAX_POWER``.

    >>> {name: str(power) for name, power in parse_units("N*m^(1/2)").items()}
    {'m': '3/2', 'kg': '1', 's': '-2'}
    """
    return dict(read_unit(text).powers)


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
        scales: sizes of the d + 1 units, the target's last, in SI base units; empty where all are 1.
    """

    base: tuple[str, ...]
    variables: NDArray[np.int64]
    target: Unit
    free_constant: bool = False
    scales: tuple[Scale, ...] = ()

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
        read = [read_unit(units[name]) for name in variables] + [read_unit(target)]
        base = tuple(sorted({name for measure in read for name in measure.powers}))
        rows = [[int(measure.powers.get(name, Fraction(0)) * SCALE) for name in base] for measure in read]
        table = np.array(rows, dtype=np.int64).reshape(len(rows), len(base))
        scales = tuple(measure.scale for measure in read)
        return Units(base, table[:-1], table[-1], free_constant, scales if any(s != Scale() for s in scales) else ())

    def in_base_units(self, X: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Any, Any, "Units"]:
        """Columns X (n, d) and target y (n,) as numbers in SI base units, and the units of these."""
        if not self.scales:
            return X, y, self
        sizes = [scale.value for scale in self.scales]
        return X * np.array(sizes[:-1]), y * sizes[-1], replace(self, scales=())

    def joined(self, more: Sequence[str]) -> "Units":
        """The same with more variables behind the others, whose units are given as text.

        >>> units = Units.from_text(["v"], {"v": "m/s"}, "m").joined(["J"])
        >>> units.base, (units.variables // SCALE).tolist(), (units.target // SCALE).tolist()
        (('m', 's', 'kg'), [[1, -1, 0], [2, -2, 1]], [1, 0, 0])
        """
        read = [read_unit(text) for text in more]
        base = (*self.base, *sorted({name for measure in read for name in measure.powers} - set(self.base)))
        rows = np.array([[int(measure.powers.get(name, Fraction(0)) * SCALE) for name in base] for measure in read])
        wider = ((0, 0), (0, len(base) - len(self.base)))
        variables = np.concatenate([np.pad(self.variables, wider), rows.reshape(len(read), len(base))])
        scales = self.scales or (Scale(),) * (len(self.variables) + 1)
        scales = (*scales[:-1], *(measure.scale for measure in read), scales[-1])
        given = scales if any(scale != Scale() for scale in scales) else ()
        return replace(self, base=base, variables=variables, target=np.pad(self.target, wider[1]), scales=given)

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
