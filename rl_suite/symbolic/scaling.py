"""Powers of ten that bring columns of any size near 1 for the search, and laws back to the data's own numbers.

Masses of stars in kilograms have squares that are no numbers of double precision. Columns of similar size are
divided by one power, so that sums of them stay sums; with units the powers are those of a change of the base
units, so that every law keeps its constants. Columns in other units than SI's base units (km, eV, deg) are brought to
these first, and the law is handed over in the numbers of the table. Tables of ordinary size are searched as they are.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.unit_text import Scale
from envs.symbolic.units import SCALE, Units
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.laws.canonical import canonical
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import Piece, binary, number, piece_of
from rl_suite.symbolic.laws.skeleton import substitute

Values = NDArray[np.float64]
ORDINARY = 6.0  # decimal exponents up to which a column is left as it is
NEIGHBOURS = 3.0  # ... between which columns are of similar size
SQUARABLE = 140.0  # largest exponent of a target whose squares are summed
LARGEST = 300  # decimal exponent that a column is divided by: numbers below 1e-308 are there, their inverses are not
FELT = 8.0  # decimal exponents below its largest number down to which a target's numbers count in a sum of squares


@dataclass(frozen=True)
class Scaling:
    """What columns (d,) and the target are multiplied by (their units) and then divided by (powers of ten)."""

    columns: tuple[int, ...]
    """Decimal exponents."""
    target: int
    units: tuple[Scale, ...] = ()
    """Sizes of the units of the columns and, last, of the target, in SI base units; empty where all are 1."""

    @property
    def trivial(self) -> bool:
        """Whether nothing is scaled."""
        return not any(self.columns) and self.target == 0 and not self.units

    def apply(self, data: Data) -> Data:
        """The data that are searched."""
        if self.trivial:
            return data
        data = in_base_units(data)
        with np.errstate(under="ignore"):
            X = np.column_stack([_divided(column, k) for column, k in zip(data.X.T, self.columns, strict=True)])
            return replace(data, X=X, y=_divided(data.y, self.target))

    def undo(self, piece: Piece, variables: tuple[str, ...]) -> Piece:
        """A law of the scaled data as one of the data."""
        sizes = self.units or (Scale(),) * (len(variables) + 1)
        for name, k, size in zip(variables, self.columns, sizes, strict=False):
            factor = _factor(size, -k)
            if factor is not None:
                piece = substitute(piece, name, binary("mul", factor, Piece((name,))))
        factor = _factor(Scale(1 / sizes[-1].fraction, -sizes[-1].pi_power), self.target)
        return piece if factor is None else binary("mul", factor, piece)

    def in_units_of(self, law: Law) -> Law:
        """A law of the numbers in a table as one of the same quantities in SI base units."""
        inverse = tuple(Scale(1 / size.fraction, -size.pi_power) for size in self.units)
        back = Scaling((0,) * len(self.columns), 0, inverse)
        return canonical(back.undo(piece_of(law), law.library.variables).law(law.library), {})


def in_base_units(data: Data) -> Data:
    """The data with columns and target as numbers in SI base units."""
    if data.units is None or not data.units.scales:
        return data
    X, y, units = data.units.in_base_units(data.X, data.y)
    return replace(data, X=X, y=y, units=units)


def unit_scaling(data: Data) -> Scaling:
    """The sizes of a table's units alone."""
    return Scaling((0,) * len(data.variables), 0, () if data.units is None else data.units.scales)


def scaling_of(data: Data) -> Scaling:
    """The sizes of a table's units, and powers of ten; 0 for all columns of ordinary size."""
    return replace(_powers_of(in_base_units(data)), units=unit_scaling(data).units)


def _powers_of(data: Data) -> Scaling:
    felt = np.abs(data.y) > np.abs(data.y).max() * 10.0**-FELT  # numbers that underflow say nothing of its size
    logs = [_middle(column) for column in (*data.X.T, data.y[felt])]
    sizes = np.array([middle for middle, _ in logs])
    largest = float(np.log10(np.maximum(np.abs(data.y).max(), 1e-300)))
    extreme = np.array([max(abs(middle - half), abs(middle + half)) > ORDINARY for middle, half in logs])
    if not extreme.any():
        return Scaling((0,) * data.X.shape[1], 0)
    if data.units is not None:
        return _of_base_units(data.units, sizes)
    powers = np.zeros(len(sizes), np.int64)
    powers[-1] = round(max(sizes[-1], largest - SQUARABLE)) if extreme[-1] else 0
    order = [int(i) for i in np.argsort(sizes[:-1], kind="stable")]
    groups: list[list[int]] = []
    for i in order:
        if groups and sizes[i] - sizes[groups[-1][-1]] <= NEIGHBOURS:
            groups[-1].append(i)
        else:
            groups.append([i])
    for group in groups:
        if extreme[group].any():
            powers[group] = np.clip(round(float(np.mean(sizes[group]))), -LARGEST, LARGEST)
    return Scaling(tuple(powers[:-1].tolist()), int(powers[-1]))


def _middle(column: Values) -> tuple[float, float]:
    """Middle and half width of the decimal exponents of a column's numbers that are not 0."""
    size = np.abs(column[column != 0])
    if len(size) == 0:
        return 0.0, 0.0
    low, high = float(np.log10(size.min())), float(np.log10(size.max()))
    return (low + high) / 2, 0.0 if high - low < ORDINARY else (high - low) / 2 - ORDINARY


def _of_base_units(units: Units, sizes: Values) -> Scaling:
    """Powers of ten for each base unit that bring all columns nearest to 1; none where they are not whole."""
    table = np.concatenate([units.variables, units.target[None]]).astype(np.float64) / SCALE  # (d + 1, U)
    per_unit = np.rint(np.linalg.lstsq(table, sizes, rcond=None)[0])
    powers = table @ per_unit
    if np.abs(powers - np.rint(powers)).max() > 1e-9:
        per_unit = 2 * np.rint(per_unit / 2)  # square roots of units are the fractions that occur
        powers = table @ per_unit
    if np.abs(powers - np.rint(powers)).max() > 1e-9:
        return Scaling((0,) * (len(sizes) - 1), 0)
    whole = [int(k) for k in np.rint(powers)]
    return Scaling(tuple(whole[:-1]), whole[-1])


def _divided(column: Values, k: int) -> Values:
    """column / 10^k without a power that is itself no number."""
    if k == 0:
        return column
    half = k // 2
    result: Values = column / 10.0**half / 10.0 ** (k - half)
    return result


def _factor(size: Scale, k: int) -> Piece | None:
    """size * 10^k as a number that the units and the scaling bring; None for 1."""
    fraction = size.fraction * Fraction(10) ** k
    if fraction == 1 and not size.pi_power:
        return None
    exact = Exact(fraction, Fraction(size.pi_power), given=True)
    return number(float(exact), exact)
