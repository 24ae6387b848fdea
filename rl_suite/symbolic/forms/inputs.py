"""What programs may read: the variables, a part of the law that is known, and dimensionless groups.

Where units are known, every law can be written in dimensionless groups (Buckingham 1914). The short ones
(such as omega*t, v/c, E*t/h) are columns of their own, so that cos(E*t/h) is a program of two tokens.
Columns that are the same in every row, such as constants of nature, stand in laws within such groups only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.tokens import Library
from envs.symbolic.units import Units, format_unit
from rl_suite.symbolic.forms.custom import Custom, column_forms
from rl_suite.symbolic.laws.pieces import Piece, binary, product
from rl_suite.symbolic.laws.skeleton import KNOWN, read_known, substitute

Values = NDArray[np.float64]
GROUP, CUSTOM = "group_", "custom_"
MAX_GROUPS = 12
MAX_GROUP_POWER = 3
MAX_GROUP_SIZE = 6  # variables in a group


@dataclass(frozen=True)
class Inputs:
    """Columns for programs, with what they stand for."""

    names: tuple[str, ...]
    columns: Values  # (n, names)
    quantities: tuple[Piece, ...]
    """The first columns as pieces: all but dimensionless groups and functions of one's own."""
    derived: dict[str, Piece]
    """Names that stand for a piece over the variables."""
    units: Units | None
    scale: tuple[Fraction, ...] = ()
    """Powers of the quantities whose product has the unit of the target; empty if there is none, or no unit."""

    @cached_property
    def varying(self) -> NDArray[np.bool_]:
        """Which columns are not the same in every row (all, if none is): the others are no tokens of programs."""
        differ = self.columns.min(axis=0) < self.columns.max(axis=0)
        return differ if differ.any() else np.ones_like(differ)

    @property
    def pure(self) -> NDArray[np.int64]:
        """Which columns are pure numbers, and vary."""
        if self.units is None:
            return np.arange(0)
        return np.flatnonzero(~self.units.variables.any(axis=1) & self.varying)

    @property
    def factors(self) -> tuple[Piece, ...]:
        """The quantities that frames take as factors of a power law."""
        return tuple(piece for piece, varies in zip(self.quantities, self.varying, strict=False) if varies)

    @property
    def factor_places(self) -> NDArray[np.int64]:
        """The columns of :attr:`factors`."""
        return np.flatnonzero(self.varying[: len(self.quantities)])

    def pieces(self, which: NDArray[np.int64]) -> list[Piece]:
        """Some columns as pieces over the variables."""
        return [self.derived.get(self.names[i], Piece((self.names[i],))) for i in which]

    def factor_rows(self, columns: Values) -> Values:
        """The rows (d, n) of columns (n, ...) that may be factors of a power law."""
        return np.ascontiguousarray(columns[:, self.factor_places].T)

    def scale_of(self, columns: Values) -> Values:
        """The product of powers that has the target's unit, for rows of columns (n, ...), (n,)."""
        powers = np.array([float(p) for p in self.scale])
        result: Values = np.prod(columns[:, : len(powers)] ** powers, axis=1)
        return result

    def scaled(self, piece: Piece) -> Piece:
        """A pure number times the product of powers that has the target's unit."""
        factors = zip(self.quantities, self.scale, strict=True)
        return binary("mul", product(None, [(factor, p) for factor, p in factors if p]), piece)

    def same_with_unit(self, unit: NDArray[np.int64]) -> Piece | None:
        """A product of powers of the quantities that do not vary, such as constants of nature, that has this unit."""
        places = np.flatnonzero(~self.varying[: len(self.quantities)])
        if self.units is None or len(places) == 0:
            return None
        powers = _powers_with(self.units.variables[places], unit)
        factors = [(self.quantities[i], power) for i, power in zip(places, powers, strict=False) if power]
        return product(None, factors) if factors else None

    def spelled_out(self, piece: Piece) -> Piece:
        """A piece over the variables alone."""
        for name, meaning in self.derived.items():
            if name in piece.names:
                piece = substitute(piece, name, meaning)
        return piece


def inputs_of(
    X: Values, variables: tuple[str, ...], units: Units | None, known: str | None, customs: Sequence[Custom] = ()
) -> Inputs:
    """The inputs for X (n, d); functions of one's own without fitted numbers are columns, where no units are known.

    Raises:
        ValueError: a known part that is not finite, or whose units do not agree.
    """
    plain = Inputs(variables, X, tuple(Piece((name,)) for name in variables), {}, units)
    if known is not None:
        piece, values, unit = read_known(known, variables, X, units)
        columns = np.column_stack([X, values])
        if units is not None:
            units = replace(units, variables=np.concatenate([units.variables, np.array([unit])]))
        plain = Inputs((*variables, KNOWN), columns, (*plain.quantities, piece), {KNOWN: piece}, units)
    return _with_customs(plain, variables, customs) if units is None else _with_groups(plain, units)


def _with_customs(plain: Inputs, variables: tuple[str, ...], customs: Sequence[Custom]) -> Inputs:
    found: dict[str, Piece] = {}
    columns = [plain.columns]
    library = Library("full", variables, constant=True)
    for piece in column_forms(customs, variables)[:MAX_GROUPS]:
        values = piece.law(library).predict(plain.columns[:, : len(variables)])
        if np.isfinite(values).all():
            found[f"{CUSTOM}{len(found)}"] = piece
            columns.append(values[:, None])
    if not found:
        return plain
    derived = plain.derived | found
    return replace(plain, names=(*plain.names, *found), columns=np.concatenate(columns, axis=1), derived=derived)


def _with_groups(plain: Inputs, units: Units) -> Inputs:
    found: dict[str, Piece] = {}
    columns = [plain.columns]
    for powers in dimensionless_groups(units.variables, ~plain.varying):
        if len(found) == MAX_GROUPS:
            break
        factors = [(piece, Fraction(int(p))) for piece, p in zip(plain.quantities, powers, strict=True) if p]
        with np.errstate(all="ignore"):
            values = np.prod(plain.columns ** powers.astype(np.float64), axis=1)
        if np.isfinite(values).all() and values.min() < values.max():  # not of constants alone
            found[f"{GROUP}{len(found)}"] = product(None, factors)
            columns.append(values[:, None])
    more = np.zeros((len(found), units.variables.shape[1]), np.int64)
    extended = replace(units, variables=np.concatenate([units.variables, more]))
    scale = product_with_unit(units)
    with np.errstate(all="ignore"):
        usable = scale and np.isfinite(replace(plain, scale=scale).scale_of(plain.columns)).all()
    return Inputs(
        (*plain.names, *found),
        np.concatenate(columns, axis=1),
        plain.quantities,
        plain.derived | found,
        extended,
        scale if usable else (),
    )


def product_with_unit(units: Units) -> tuple[Fraction, ...]:
    """Powers (d,) of the shortest product of variables with the target's unit; empty where that is 1 or not found.

    >>> pendulum = Units.from_text(["length", "g"], {"length": "m", "g": "m/s^2"}, "s")
    >>> [str(power) for power in product_with_unit(pendulum)]
    ['1/2', '-1/2']
    """
    return _powers_with(units.variables, units.target)


def _powers_with(units: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[Fraction, ...]:
    """Powers (d,) of the shortest product of what has ``units`` (d, U) that has the unit ``wanted`` (U,)."""
    if not wanted.any():
        return ()
    groups = [g for g in _all_groups(np.concatenate([units, wanted[None]])) if g[-1]]
    if not groups:
        return ()
    row = min(groups, key=lambda g: (abs(int(g[-1])), int(np.abs(g).sum())))
    return tuple(Fraction(int(-p), int(row[-1])) for p in row[:-1])


def dimensionless_groups(units: NDArray[np.int64], same: NDArray[np.bool_] | None = None) -> list[NDArray[np.int64]]:
    """Powers (d,) of products without a unit, from the units (d, U) of the variables, the shortest first.

    Each is minimal: leaving a variable out, no other powers make a pure number. Those with variables that are the
    ``same`` (d,) in every row come last.

    >>> speed, length, time = [1, -1], [1, 0], [0, 1]  # of metre and second
    >>> [g.tolist() for g in dimensionless_groups(np.array([speed, length, time]))]
    [[1, -1, 1]]
    """
    groups = _all_groups(units)
    return groups if same is None else sorted(groups, key=lambda powers: int(np.count_nonzero(powers[same])))


def _all_groups(units: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    with_unit = np.flatnonzero(units.any(axis=1))
    groups = []
    for size in range(2, min(len(with_unit), MAX_GROUP_SIZE) + 1):
        for chosen in combinations(with_unit.tolist(), size):
            powers = _only_solution(units[list(chosen)])
            if powers is not None and np.abs(powers).max() <= MAX_GROUP_POWER:
                row = np.zeros(len(units), np.int64)
                row[list(chosen)] = powers
                groups.append(row)
    return sorted(groups, key=lambda row: int(np.abs(row).sum()))


def _only_solution(units: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Whole powers p with p @ units = 0, none of them 0, if there is one such direction; the first is positive."""
    size = len(units)
    if np.linalg.matrix_rank(units) != size - 1:
        return None
    direction = np.linalg.svd(units.astype(np.float64))[0][:, -1]
    if np.abs(direction).min() < 1e-9:
        return None
    direction = direction / direction[np.abs(direction).argmin()]
    for scale in _small_wholes():
        powers = np.rint(scale * direction).astype(np.int64)
        if not (powers @ units).any():
            result: NDArray[np.int64] = powers * np.sign(powers[0])
            return result
    return None


def _small_wholes() -> Iterator[int]:
    yield from range(1, MAX_GROUP_POWER + 1)


def require_reachable(units: Units, variables: tuple[str, ...]) -> None:
    """ValueError that names the units if no product of powers of the variables has the target's unit."""
    if units.free_constant or not units.target.any():
        return
    if np.linalg.matrix_rank(np.vstack([units.variables, units.target])) > np.linalg.matrix_rank(units.variables):
        rows = (f"{name}: {format_unit(u, units.base)}" for name, u in zip(variables, units.variables, strict=True))
        have = ", ".join(rows)
        raise ValueError(
            "no product of powers of the variables has the unit of the target,"
            f" {format_unit(units.target, units.base)}; they have {have}; mend the units or allow free_constants"
        )
