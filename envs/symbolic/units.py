"""Dimensional analysis: units as vectors of exponents, and how many tokens a unit costs to reach.

A unit is a row of whole numbers: exponents of the base units times ``SCALE``, so that square, cube and
fourth roots stay exact. ``Reach`` answers, for a library whose variables have units, in how few tokens a
program of a given unit can be written; the grammar's mask uses it so that no partial program is a dead end.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numba import njit
from numpy.typing import NDArray

from envs.symbolic.tokens import CONSTANT, LITERAL, Library

SCALE = 12
MAX_POWER = 8  # exponents beyond +-8 are neither read nor searched
MAX_UNITS_REACHED = 30_000  # the nearest ones are kept; a law of physics needs a few hundred
FAR = 32_767  # cost of a unit that cannot be reached

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


@dataclass(frozen=True)
class Reach:
    """Fewest tokens of a program of each unit, as an open-addressing hash table for kernels.

    The programs counted are chains: a variable, powers and roots of a chain, or one leaf times or over a
    chain. Every suffix of a chain is a chain, which is what makes the mask free of dead ends.

    Attributes:
        keys: (H, U) units; rows whose cost is ``FAR`` are empty.
        costs: (H,) tokens.
        fillers: (F, U) distinct units of the leaves.
        otherwise: cost of all units that are not in the table.
    """

    keys: NDArray[np.int64]
    costs: NDArray[np.int64]
    fillers: NDArray[np.int64]
    otherwise: int

    def cost(self, unit: Unit) -> int:
        """Fewest tokens of a chain of this unit, ``FAR`` if there is none."""
        return int(reach_cost(self.keys, self.costs, self.otherwise, np.asarray(unit, dtype=np.int64)))


def build_reach(units: Units, library: Library, max_length: int) -> Reach:
    """Search all units by increasing length of their shortest chain.

    Raises:
        ValueError: y's unit cannot be reached, or not in ``max_length`` tokens.
    """
    if not units.free_constant and not _in_span(units.variables, units.target):
        have = ", ".join(
            f"{name}: {format_unit(unit, units.base)}"
            for name, unit in zip(library.variables, units.variables, strict=True)
        )
        raise ValueError(
            f"no product of powers of the variables has the units of y, {format_unit(units.target, units.base)};"
            f" the variables have {have}"
        )
    table = units.of_tokens(library)
    constants = (library.opcode == LITERAL) | ((library.opcode == CONSTANT) & (not units.free_constant))
    fillers = np.unique(np.concatenate([units.variables, table[constants][:1]]), axis=0)
    functions = np.array([name in library for name in ("mul", "div", "sq", "cube", "sqrt", "inv")])
    size = 1 << (2 * MAX_UNITS_REACHED).bit_length()
    keys = np.zeros((size, len(units.base)), dtype=np.int64)
    costs = np.full(size, FAR, dtype=np.int64)
    kept = _search(np.unique(units.variables, axis=0), fillers, functions, max_length, keys, costs)
    keys, costs = _shrink(keys, costs, kept)
    wild = units.free_constant and "mul" in library and library.constant_id >= 0
    reach = Reach(keys, costs, fillers, 3 if wild else FAR)  # c*x has any unit where c may have any
    if reach.cost(units.target) > max_length:
        raise ValueError(
            f"the units of y, {format_unit(units.target, units.base)}, cannot be written in {max_length} tokens"
            f" with the functions {' '.join(library.functions)}; raise max_length or add functions"
        )
    return reach


def _in_span(variables: NDArray[np.int64], target: Unit) -> bool:
    if not target.any():
        return True
    return bool(np.linalg.matrix_rank(np.vstack([variables, target])) == np.linalg.matrix_rank(variables))


def _shrink(
    keys: NDArray[np.int64], costs: NDArray[np.int64], kept: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same table with twice as many places as entries."""
    size = 1 << (2 * kept).bit_length()
    small_keys = np.zeros((size, keys.shape[1]), dtype=np.int64)
    small_costs = np.full(size, FAR, dtype=np.int64)
    for place in np.flatnonzero(costs < FAR):
        slot = _place(small_keys, small_costs, keys[place])
        small_keys[slot], small_costs[slot] = keys[place], costs[place]
    return small_keys, small_costs


@njit(cache=True)
def _place(keys: NDArray[np.int64], costs: NDArray[np.int64], unit: Unit) -> int:
    """Where a unit stands in the hash table, or the empty place where it belongs."""
    mask = costs.shape[0] - 1
    code = np.int64(1469598103)
    for i in range(unit.shape[0]):
        code = (code ^ unit[i]) * np.int64(16777619)
        code ^= code >> np.int64(15)
    place = code & mask
    while costs[place] < FAR:
        same = True
        for i in range(unit.shape[0]):
            same = same and keys[place, i] == unit[i]
        if same:
            break
        place = (place + 1) & mask
    return int(place)


@njit(cache=True)
def reach_cost(keys: NDArray[np.int64], costs: NDArray[np.int64], otherwise: int, unit: Unit) -> int:
    """Cost of a unit in a table of :class:`Reach`."""
    cost = costs[_place(keys, costs, unit)]
    return int(min(cost, otherwise))


@njit(cache=True)
def _search(
    starts: NDArray[np.int64],
    fillers: NDArray[np.int64],
    functions: NDArray[np.bool_],
    max_length: int,
    keys: NDArray[np.int64],
    costs: NDArray[np.int64],
) -> int:
    """Breadth-first search over units by cost; returns how many were kept."""
    n_units = starts.shape[1]
    queue = np.zeros((MAX_UNITS_REACHED, n_units), dtype=np.int64)
    cost_of = np.zeros(MAX_UNITS_REACHED, dtype=np.int64)
    unit = np.zeros(n_units, dtype=np.int64)
    kept = 0
    for level in range(1, max_length + 1):
        if level == 1:
            for s in range(starts.shape[0]):
                kept = _keep(starts[s], 1, keys, costs, queue, cost_of, kept)
            continue
        for q in range(kept):
            if cost_of[q] == level - 1:
                for power in range(4):  # square, cube, square root, inverse
                    if functions[2 + power] and _power(queue[q], power, unit):
                        kept = _keep(unit, level, keys, costs, queue, cost_of, kept)
            elif cost_of[q] == level - 2:
                for f in range(fillers.shape[0]):
                    for sign in (1, -1):
                        if functions[0 if sign == 1 else 1]:
                            for i in range(n_units):
                                unit[i] = fillers[f, i] + sign * queue[q, i]
                            kept = _keep(unit, level, keys, costs, queue, cost_of, kept)
    return kept


@njit(cache=True)
def _power(unit: Unit, power: int, result: Unit) -> bool:
    for i in range(unit.shape[0]):
        if power == 0:
            result[i] = 2 * unit[i]
        elif power == 1:
            result[i] = 3 * unit[i]
        elif power == 2:
            if unit[i] % 2 != 0:
                return False
            result[i] = unit[i] // 2
        else:
            result[i] = -unit[i]
    return True


@njit(cache=True)
def _keep(
    unit: Unit,
    cost: int,
    keys: NDArray[np.int64],
    costs: NDArray[np.int64],
    queue: NDArray[np.int64],
    cost_of: NDArray[np.int64],
    kept: int,
) -> int:
    for i in range(unit.shape[0]):
        if abs(unit[i]) > MAX_POWER * SCALE:
            return kept
    place = _place(keys, costs, unit)
    if costs[place] < FAR or kept >= MAX_UNITS_REACHED:
        return kept
    costs[place] = cost
    for i in range(unit.shape[0]):
        keys[place, i] = unit[i]
        queue[kept, i] = unit[i]
    cost_of[kept] = cost
    return kept + 1
