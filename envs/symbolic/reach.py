"""In how few tokens a program of a given unit can be written.

The grammar's mask asks this so that no partial program becomes a dead end. The programs counted are chains:
a variable; a power, a root or the inverse of a chain; one leaf times or over a chain. Every end of a chain
is a chain, so that whoever follows one meets no surprise. Chains keep to the grammar's rules: no square
under a root or the other way round, no inverse of an inverse, no x / x.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.streams import FACTOR_1, FACTOR_2, SHIFT_11, SHIFT_27, SHIFT_30, SHIFT_31
from envs.symbolic.tokens import CONSTANT, LITERAL, Library
from envs.symbolic.units import MAX_POWER, SCALE, Unit, Units, format_unit

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
Costs = NDArray[np.int16]

MAX_UNITS = 30_000  # the nearest units are kept; a law of physics needs a few hundred
FAR = 32_767  # cost of a unit that cannot be reached
# What a chain begins with decides what may stand above it.
LEAF, SQUARED, ROOTED, INVERTED, OTHER = range(5)
ANY = -1
KINDS = 5


@dataclass(frozen=True)
class Reach:
    """Tokens of the shortest chain for each unit and beginning, as an open-addressing hash table for kernels.

    Attributes:
        keys: (H,) fingerprints of units (two of 30,000 agree with probability 2e-11); 0 where the place is empty.
        costs: (H, KINDS) tokens by what the chain begins with.
        otherwise: cost of every unit that the table does not know better.
    """

    keys: Keys
    costs: Costs
    otherwise: int

    def cost(self, unit: Unit, forbidden: int = ANY) -> int:
        """Fewest tokens of a chain of this unit that does not begin with the forbidden kind; ``FAR`` if none."""
        unit = np.asarray(unit, dtype=np.int64)
        return int(reach_cost(self.keys, self.costs, self.otherwise, unit, forbidden))


def build_reach(units: Units, library: Library, max_length: int) -> Reach:
    """Search all units by increasing length of their chains.

    Raises:
        ValueError: y's unit cannot be reached, or not in ``max_length`` tokens.
    """
    free = units.free_constant and library.constant_id >= 0
    if not free and not _in_span(units.variables, units.target):
        have = ", ".join(
            f"{name}: {format_unit(unit, units.base)}"
            for name, unit in zip(library.variables, units.variables, strict=True)
        )
        raise ValueError(
            f"no product of powers of the variables has the units of y, {format_unit(units.target, units.base)};"
            f" the variables have {have}"
        )
    numbers = bool(((library.opcode == LITERAL) | (library.opcode == CONSTANT)).any())
    leaves, counts = np.unique(units.variables, axis=0, return_counts=True)
    functions = np.array([name in library for name in ("add", "mul", "div", "sq", "cube", "sqrt", "inv")])
    keys, costs = empty_table(2 * MAX_UNITS)
    kept = _search(leaves, counts > 1, numbers, functions, max_length, keys, costs)
    small = empty_table(2 * kept)
    copy_reach(keys, costs, *small)
    reach = Reach(*small, 3 if free and "mul" in library else FAR)  # c*x has any unit where c may have any
    if reach.cost(units.target) > max_length:
        raise ValueError(
            f"the units of y, {format_unit(units.target, units.base)}, cannot be written in {max_length} tokens"
            f" with the functions {' '.join(library.functions)}; raise max_length or add functions"
        )
    return reach


def empty_table(places: int) -> tuple[Keys, Costs]:
    """A hash table with at least so many places; their number is a power of two."""
    size = 1 << places.bit_length()
    return np.zeros(size, dtype=np.uint64), np.full((size, KINDS), FAR, dtype=np.int16)


def _in_span(variables: Ints, target: Unit) -> bool:
    if not target.any():
        return True
    return bool(np.linalg.matrix_rank(np.vstack([variables, target])) == np.linalg.matrix_rank(variables))


@kernel(forceinline=True)
def reach_cost(keys: Keys, costs: Costs, otherwise: int, unit: Unit, forbidden: int) -> int:
    """:meth:`Reach.cost` for kernels."""
    place = _place_of(keys, _fingerprint(unit))
    cost = otherwise
    for kind in range(KINDS):
        if kind != forbidden:
            cost = min(cost, costs[place, kind])
    return int(cost)


@kernel()
def copy_reach(keys: Keys, costs: Costs, to_keys: Keys, to_costs: Costs) -> None:
    """Copy a table into an empty one of another size."""
    for place in range(keys.shape[0]):
        if keys[place] != 0:
            there = _place_of(to_keys, keys[place])
            to_keys[there] = keys[place]
            for kind in range(KINDS):
                to_costs[there, kind] = costs[place, kind]


@kernel(forceinline=True)
def _fingerprint(unit: Unit) -> np.uint64:
    """64 mixed bits of a unit, never 0; exponents of 0 at the end change nothing."""
    code = np.uint64(0)
    for i in range(unit.shape[0]):
        if unit[i] != 0:
            z = np.uint64(unit[i] + (i << 32)) * FACTOR_1
            code += (z ^ (z >> SHIFT_31)) * FACTOR_2
    code = (code ^ (code >> SHIFT_30)) * FACTOR_1
    return (code ^ (code >> SHIFT_27)) | np.uint64(1)


@kernel(forceinline=True)
def _place_of(keys: Keys, key: np.uint64) -> int:
    """Where a unit stands in the hash table, or the empty place where it belongs."""
    mask = keys.shape[0] - 1
    place = np.int64(key >> SHIFT_11) & mask
    while keys[place] != 0 and keys[place] != key:
        place = (place + 1) & mask
    return int(place)


@kernel()
def _search(
    leaves: Ints,
    shared: NDArray[np.bool_],
    numbers: bool,
    functions: NDArray[np.bool_],
    max_length: int,
    keys: Keys,
    costs: Costs,
) -> int:
    """Breadth-first search over (unit, beginning) by cost; returns how many units were kept.

    ``shared`` says which leaf units several variables have: x / y is then no x / x.
    """
    n_units = leaves.shape[1]
    places = np.zeros(MAX_UNITS, dtype=np.int64)
    chains = np.zeros((MAX_UNITS, n_units), dtype=np.int64)
    unit = np.zeros(n_units, dtype=np.int64)
    number = np.zeros(n_units, dtype=np.int64)
    has_add, has_mul, has_div, has_sq, has_cube, has_sqrt, has_inv = functions
    kept = 0
    for s in range(leaves.shape[0]):
        kept = _keep(leaves[s], LEAF, 1, keys, costs, places, chains, kept)
    for level in range(2, max_length + 1):
        for q in range(kept):
            chain, cost = chains[q], costs[places[q]]
            below = level - 1
            if has_sq and _cheapest(cost, ROOTED) == below and _scaled(chain, 2, 1, unit):
                kept = _keep(unit, SQUARED, level, keys, costs, places, chains, kept)
            if has_cube and _cheapest(cost, ANY) == below and _scaled(chain, 3, 1, unit):
                kept = _keep(unit, OTHER, level, keys, costs, places, chains, kept)
            if has_sqrt and _cheapest(cost, SQUARED) == below and _scaled(chain, 1, 2, unit):
                kept = _keep(unit, ROOTED, level, keys, costs, places, chains, kept)
            if has_inv and _cheapest(cost, INVERTED) == below and _scaled(chain, -1, 1, unit):
                kept = _keep(unit, INVERTED, level, keys, costs, places, chains, kept)
            if level == 3 and has_add and cost[LEAF] == 1:  # x + x
                kept = _keep(chain, OTHER, level, keys, costs, places, chains, kept)
            for f in range(-1 if numbers else 0, leaves.shape[0]):
                leaf = number if f < 0 else leaves[f]
                if has_mul and _cheapest(cost, ANY) == level - 2:
                    for i in range(n_units):
                        unit[i] = leaf[i] + chain[i]
                    kept = _keep(unit, OTHER, level, keys, costs, places, chains, kept)
                twin = f >= 0 and not shared[f] and same_unit(leaf, chain)
                if has_div and _cheapest(cost, LEAF if twin else ANY) == level - 2:
                    for i in range(n_units):
                        unit[i] = leaf[i] - chain[i]
                    kept = _keep(unit, OTHER, level, keys, costs, places, chains, kept)
    return kept


@kernel()
def _cheapest(cost: Costs, forbidden: int) -> int:
    best = FAR
    for kind in range(KINDS):
        if kind != forbidden:
            best = min(best, cost[kind])
    return int(best)


@kernel()
def same_unit(a: Unit, b: Unit) -> bool:
    """Whether two units are equal."""
    equal = True
    for i in range(a.shape[0]):
        equal = equal and a[i] == b[i]
    return bool(equal)


@kernel()
def _scaled(unit: Unit, factor: int, divisor: int, result: Unit) -> bool:
    """result = unit * factor / divisor; False if that is no whole number."""
    for i in range(unit.shape[0]):
        if unit[i] * factor % divisor != 0:
            return False
        result[i] = unit[i] * factor // divisor
    return True


@kernel()
def _keep(unit: Unit, kind: int, cost: int, keys: Keys, costs: Costs, places: Ints, chains: Ints, kept: int) -> int:
    """Enter a chain unless a shorter one is known or the unit is too far out; returns how many units there are."""
    for i in range(unit.shape[0]):
        if abs(unit[i]) > MAX_POWER * SCALE:
            return kept
    key = _fingerprint(unit)
    place = _place_of(keys, key)
    if keys[place] == 0:
        if kept >= MAX_UNITS:
            return kept
        keys[place] = key
        for i in range(unit.shape[0]):
            chains[kept, i] = unit[i]
        places[kept] = place
        kept += 1
    costs[place, kind] = min(costs[place, kind], cost)
    return kept
