"""Powers of ten that bring columns of any size near 1 for the search, and laws back to the data's own numbers.

Masses of stars in kilograms have squares that are no numbers of double precision. Columns of similar size are
divided by one power, so that sums of them stay sums; with units the powers are those of a change of the base
units, so that every law keeps its constants. Tables of ordinary size are searched as they are.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.units import SCALE, Units
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import Piece, binary, number
from rl_suite.symbolic.laws.skeleton import substitute

Values = NDArray[np.float64]
ORDINARY = 6.0  # decimal exponents up to which a column is left as it is
NEIGHBOURS = 3.0  # ... between which columns are of similar size
SQUARABLE = 140.0  # largest exponent of a target whose squares are summed


@dataclass(frozen=True)
class Scaling:
    """Decimal exponents that columns (d,) and the target are divided by."""

    columns: tuple[int, ...]
    target: int

    @property
    def trivial(self) -> bool:
        """Whether nothing is scaled."""
        return not any(self.columns) and self.target == 0

    def apply(self, data: Data) -> Data:
        """The data that are searched."""
        if self.trivial:
            return data
        with np.errstate(under="ignore"):
            X = np.column_stack([_divided(column, k) for column, k in zip(data.X.T, self.columns, strict=True)])
            return replace(data, X=X, y=_divided(data.y, self.target))

    def undo(self, piece: Piece, variables: tuple[str, ...]) -> Piece:
        """A law of the scaled data as one of the data."""
        for name, k in zip(variables, self.columns, strict=True):
            if k:
                piece = substitute(piece, name, binary("mul", _power(-k), Piece((name,))))
        return binary("mul", _power(self.target), piece) if self.target else piece


def scaling_of(data: Data) -> Scaling:
    """The powers for a table; 0 for all columns of ordinary size."""
    logs = [_middle(column) for column in (*data.X.T, data.y)]
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
            powers[group] = round(float(np.mean(sizes[group])))
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


def _power(k: int) -> Piece:
    exact = Exact(Fraction(10) ** k)
    return number(float(exact.fraction), exact)
