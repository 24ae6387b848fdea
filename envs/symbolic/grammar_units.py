"""Which token may come next so that the finished program has the units of y.

Every open argument either must have a certain unit (below a sum, inside sin, the second factor of a product
whose unit is known) or is free. A token is allowed if the arguments that would then be open can still be
given units that fit, within the tokens that are left. To decide that, one completion is tried for each
distinct leaf unit: free arguments become that leaf, the others the shortest chain of ``units.Reach``. The
next token of a completion that was found is itself allowed, so that there is never a dead end.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.streams import Streams
from envs.symbolic.grammar import Grammar, Ints, Partials, Tables, append_token, fill_mask, pick
from envs.symbolic.reach import ANY, FAR, KINDS, LEAF, Costs, Keys, build_reach, copy_reach, reach_cost, same_unit
from envs.symbolic.tokens import CONSTANT, LITERAL, Library
from envs.symbolic.unit_algebra import (
    DIV,
    MUL,
    RULES,
    argument_unit,
    forbidden_below,
    has_root,
    second_unit,
    value_unit,
)
from envs.symbolic.units import Units


class UnitTables(NamedTuple):
    """Units of T tasks for kernels."""

    rule: Ints  # (n,) how each token treats units
    unit: Ints  # (T, n, U) units of the leaves
    wild: NDArray[np.bool_]  # (T, n) leaves of any unit
    wild_numbers: NDArray[np.bool_]  # (T,) whether there are such
    target: Ints  # (T, U)
    fillers: Ints  # (T, F, U) distinct units of the variables, repeated to fill
    numbers: NDArray[np.bool_]  # (T,) whether numbers are among the leaves
    alone: NDArray[np.bool_]  # (T, n) variables that share their unit with no other
    keys: Keys  # (T, H) as Reach
    costs: Costs  # (T, H, KINDS)
    otherwise: Ints  # (T,)


class UnitStack(NamedTuple):
    """What is known of the units of each function on the stack of ``Partials``."""

    required: Ints  # (B, L, U) unit that the function's own value must have
    known: NDArray[np.bool_]  # (B, L) whether it must
    first: Ints  # (B, L, U) unit of its finished first argument
    first_known: NDArray[np.bool_]  # (B, L) False: that argument may have any unit


def unit_tables(units: Sequence[Units], library: Library, max_length: int) -> UnitTables:
    """Tables of several tasks of one library; ValueError if the units of some y cannot be reached."""
    reaches = [build_reach(u, library, max_length) for u in units]
    n_base = max(1, *(len(u.base) for u in units))
    size = max(len(reach.costs) for reach in reaches)
    fillers = [np.unique(u.variables, axis=0) for u in units]
    n_fillers = max(len(f) for f in fillers)
    n_tasks, n = len(units), len(library)
    tables = UnitTables(
        rule=np.array([RULES.index(token.units) for token in library.tokens]),
        unit=np.zeros((n_tasks, n, n_base), dtype=np.int64),
        wild=np.zeros((n_tasks, n), dtype=np.bool_),
        wild_numbers=np.array([u.free_constant and library.constant_id >= 0 for u in units]),
        target=np.zeros((n_tasks, n_base), dtype=np.int64),
        fillers=np.zeros((n_tasks, n_fillers, n_base), dtype=np.int64),
        numbers=np.full(n_tasks, ((library.opcode == LITERAL) | (library.opcode == CONSTANT)).any()),
        keys=np.zeros((n_tasks, size), dtype=np.uint64),
        alone=np.zeros((n_tasks, n), dtype=np.bool_),
        costs=np.full((n_tasks, size, KINDS), FAR, dtype=np.int16),
        otherwise=np.zeros(n_tasks, dtype=np.int64),
    )
    for t, (u, reach) in enumerate(zip(units, reaches, strict=True)):
        width = len(u.base)
        tables.unit[t, :, :width] = u.of_tokens(library)
        tables.wild[t] = (library.opcode == CONSTANT) & u.free_constant
        tables.target[t, :width] = u.target
        tables.fillers[t, :, :width] = fillers[t][np.arange(n_fillers) % len(fillers[t])]
        tables.otherwise[t] = reach.otherwise
        twins = (u.variables[:, None] == u.variables[None]).all(2).sum(1)  # (d,) variables of the same unit
        tables.alone[t, library.index >= 0] = twins[library.index[library.index >= 0]] == 1
        copy_reach(reach.keys, reach.costs, tables.keys[t], tables.costs[t])
    return tables


def start_units(n: int, max_length: int, tables: UnitTables) -> UnitStack:
    """Empty stacks for n programs."""
    shape, n_base = (n, max_length), tables.target.shape[1]
    return UnitStack(
        required=np.zeros((*shape, n_base), dtype=np.int64),
        known=np.zeros(shape, dtype=np.bool_),
        first=np.zeros((*shape, n_base), dtype=np.int64),
        first_known=np.zeros(shape, dtype=np.bool_),
    )


def sample_with_units(
    grammar: Grammar, tables: UnitTables, task: int, n: int, streams: Streams
) -> tuple[NDArray[np.int16], Ints]:
    """n random programs (n, L) with the units of one task's y, and their lengths (n,)."""
    partials = grammar.start(n)
    stack = start_units(n, grammar.rules.max_length, tables)
    _sample(grammar.tables, tables, partials, stack, task, streams)
    return partials.tokens, partials.length


@kernel(allocates=False)
def slot_unit(
    tables: Tables, units: UnitTables, partials: Partials, stack: UnitStack, b: int, task: int, result: Ints
) -> int:
    """Unit that the next token of row b must have: 1 known (in ``result``), 0 free."""
    top = partials.depth[b] - 1
    if top < 0:
        for i in range(result.shape[0]):
            result[i] = units.target[task, i]
        return 1
    parent = partials.tokens[b, partials.position[b, top]]
    rule = units.rule[parent]
    required, known = stack.required[b, top], stack.known[b, top]
    if partials.missing[b, top] < tables.arity[parent]:
        return second_unit(rule, required, known, stack.first[b, top], stack.first_known[b, top], result)
    return argument_unit(rule, required, known, result)


@kernel(allocates=False, forceinline=True)
def _fill(units: UnitTables, task: int, known: int, filler: int, forbidden: int, unit: Ints) -> int:
    """Close one argument: its cost in tokens; a free one becomes the filler, whose unit is written."""
    if known == 1:
        return reach_cost(units.keys[task], units.costs[task], units.otherwise[task], unit, forbidden)
    for i in range(unit.shape[0]):
        unit[i] = units.fillers[task, filler, i]
    return 1


@kernel(allocates=False, forceinline=True)
def _is_alone(units: UnitTables, task: int, unit: Ints) -> bool:
    """Whether exactly one variable has this unit."""
    alone = False
    for t in range(units.alone.shape[1]):
        alone = alone or (units.alone[task, t] and same_unit(units.unit[task, t], unit))
    return alone


@kernel(allocates=False, forceinline=True)
def _twin_below(tables: Tables, units: UnitTables, task: int, token: int, first: Ints, second: Ints) -> int:
    """LEAF where the second argument of sub or div could only be the variable that is the first, else ANY."""
    if not tables.difference[token]:
        return ANY
    return LEAF if same_unit(first, second) and _is_alone(units, task, first) else ANY


@kernel(allocates=False)
def _own_cost(
    tables: Tables,
    units: UnitTables,
    task: int,
    token: int,
    slot: Ints,
    slot_known: bool,
    filler: int,
    first: int,
    scratch: Ints,
) -> tuple[int, bool]:
    """Tokens of the shortest expression that begins with ``token`` and fits its slot, and whether its unit is known.

    The unit is left in ``scratch[0]``. Free arguments become variables of the filler's unit; a free first argument
    becomes a leaf of the unit ``first``, or a number if that is -1.
    """
    value, a, c = scratch[0], scratch[1], scratch[2]
    rule = units.rule[token]
    if tables.arity[token] == 0:
        known = not units.wild[task, token]
        for i in range(value.shape[0]):
            value[i] = units.unit[task, token, i]
            if slot_known and known and value[i] != slot[i]:
                return FAR, False
        return 1, known
    state = argument_unit(rule, slot, slot_known, a)
    if state < 0:
        return FAR, False
    a_known = True
    if first < 0:  # as in 1/x; where constants are wild, as in c*x
        cost = 2
        a_known = not units.wild_numbers[task]
        for i in range(a.shape[0]):
            a[i] = 0
    else:
        cost = 1 + _fill(units, task, state, first, forbidden_below(rule), a)
    if not has_root(rule, a, True):
        return FAR, False
    if tables.arity[token] == 2:
        state = second_unit(rule, slot, slot_known, a, a_known, c)
        twin = ANY if first < 0 else _twin_below(tables, units, task, token, a, c)
        cost += _fill(units, task, state, filler, twin if state == 1 else ANY, c)
    return cost, value_unit(rule, slot, slot_known, a, a_known, c, True, value)


@kernel(allocates=False)
def _cost_above(
    tables: Tables,
    units: UnitTables,
    partials: Partials,
    stack: UnitStack,
    b: int,
    task: int,
    known: bool,
    is_variable: bool,
    filler: int,
    scratch: Ints,
) -> int:
    """Tokens that close all arguments open above the current slot, whose expression has the unit ``scratch[0]``."""
    value, a, c = scratch[0], scratch[1], scratch[2]
    cost = 0
    for top in range(partials.depth[b] - 1, -1, -1):
        if cost >= FAR:
            return FAR
        parent = partials.tokens[b, partials.position[b, top]]
        rule = units.rule[parent]
        required, must = stack.required[b, top], stack.known[b, top]
        if tables.arity[parent] == 1:
            if not has_root(rule, value, known):
                return FAR
            known = value_unit(rule, required, must, value, known, value, known, value)
        elif partials.missing[b, top] == 2:
            state = second_unit(rule, required, must, value, known, c)
            twin = ANY
            if state == 1 and is_variable and top == partials.depth[b] - 1:
                twin = _twin_below(tables, units, task, parent, value, c)
            cost += _fill(units, task, state, filler, twin, c)
            known = value_unit(rule, required, must, value, known, c, True, value)
        else:
            for i in range(value.shape[0]):
                a[i] = stack.first[b, top, i]
            known = value_unit(rule, required, must, a, stack.first_known[b, top], value, known, value)
    return cost


@kernel(allocates=False)
def fill_unit_mask(
    tables: Tables,
    units: UnitTables,
    partials: Partials,
    stack: UnitStack,
    b: int,
    task: int,
    n_variables: int,
    mask: NDArray[np.bool_],
) -> None:
    """``fill_mask`` with units; where the other rules leave nothing that fits, useless tokens are allowed again."""
    for strict in (True, False):
        fill_mask(tables, partials, b, n_variables, strict, mask)
        if _keep_fitting(tables, units, partials, stack, b, task, mask):
            return


@kernel()
def _keep_fitting(
    tables: Tables, units: UnitTables, partials: Partials, stack: UnitStack, b: int, task: int, mask: NDArray[np.bool_]
) -> bool:
    """Take the tokens that do not fit the units out of the mask; False if none is left."""
    n_base = units.target.shape[1]
    n_fillers = units.fillers.shape[1]
    slot = np.zeros(n_base, dtype=np.int64)
    scratch = np.zeros((3, n_base), dtype=np.int64)
    slot_known = slot_unit(tables, units, partials, stack, b, task, slot) == 1
    budget = tables.max_length - partials.length[b]
    above = np.full(2, FAR, dtype=np.int64)
    if slot_known:  # what stands above does not depend on the token, but for the first argument of sub and div
        for filler in range(n_fillers):
            for is_variable in range(2):
                for i in range(n_base):
                    scratch[0, i] = slot[i]
                cost = _cost_above(tables, units, partials, stack, b, task, True, is_variable == 1, filler, scratch)
                above[is_variable] = min(above[is_variable], cost)
    if slot_known:
        for t in range(mask.shape[0]):
            if not mask[t]:
                continue
            mask[t] = False
            product = units.rule[t] == MUL or units.rule[t] == DIV  # its first argument is free
            for first in range(-1 if product and units.numbers[task] else 0, n_fillers if product else 1):
                cost, _ = _own_cost(tables, units, task, t, slot, True, 0, first, scratch)
                mask[t] = mask[t] or cost + above[1 if tables.variable[t] >= 0 else 0] <= budget
    else:
        _keep_fitting_free(tables, units, partials, stack, b, task, budget, slot, scratch, mask)
    found = False
    for t in range(mask.shape[0]):
        found = found or mask[t]
    return bool(found)


@kernel()
def _keep_fitting_free(
    tables: Tables,
    units: UnitTables,
    partials: Partials,
    stack: UnitStack,
    b: int,
    task: int,
    budget: int,
    slot: Ints,
    scratch: Ints,
    mask: NDArray[np.bool_],
) -> None:
    """:func:`_keep_fitting` for a slot of any unit; what stands above depends on the unit that a token brings."""
    n, n_base = mask.shape[0], slot.shape[0]
    fits = np.zeros(n, dtype=np.bool_)
    seen = np.zeros((n, n_base), dtype=np.int64)  # units whose cost above is known, with this filler
    seen_kind = np.zeros(n, dtype=np.int64)
    seen_cost = np.zeros(n, dtype=np.int64)
    for filler in range(units.fillers.shape[1]):
        n_seen = 0
        for t in range(n):
            if fits[t] or not mask[t]:
                continue
            cost, known = _own_cost(tables, units, task, t, slot, False, filler, filler, scratch)
            if cost > budget:
                continue
            is_variable = tables.variable[t] >= 0
            kind = (2 if known else 0) + (1 if is_variable else 0)
            k = 0
            while k < n_seen and not (seen_kind[k] == kind and same_unit(seen[k], scratch[0])):
                k += 1
            if k == n_seen:
                n_seen += 1
                seen_kind[k] = kind
                for i in range(n_base):
                    seen[k, i] = scratch[0, i]
                seen_cost[k] = _cost_above(tables, units, partials, stack, b, task, known, is_variable, filler, scratch)
            fits[t] = cost + seen_cost[k] <= budget
    for t in range(n):
        mask[t] = fits[t]


@kernel()
def append_units(
    tables: Tables, units: UnitTables, partials: Partials, stack: UnitStack, b: int, task: int, token: int
) -> None:
    """Write down the units that ``token`` settles; to be called before ``append_token``."""
    n_base = units.target.shape[1]
    slot = np.zeros(n_base, dtype=np.int64)
    slot_known = slot_unit(tables, units, partials, stack, b, task, slot) == 1
    depth = partials.depth[b]
    if tables.arity[token] > 0:
        for i in range(n_base):
            stack.required[b, depth, i] = slot[i]
        stack.known[b, depth] = slot_known
        return
    value = slot if slot_known else units.unit[task, token].copy()
    known = slot_known or not units.wild[task, token]
    for top in range(depth - 1, -1, -1):
        parent = partials.tokens[b, partials.position[b, top]]
        rule = units.rule[parent]
        required, must = stack.required[b, top], stack.known[b, top]
        if partials.missing[b, top] == 2:
            for i in range(n_base):
                stack.first[b, top, i] = value[i]
            stack.first_known[b, top] = known
            return
        if tables.arity[parent] == 1:
            known = value_unit(rule, required, must, value, known, value, known, value)
        else:
            first = stack.first[b, top]
            known = value_unit(rule, required, must, first, stack.first_known[b, top], value, known, value)


@kernel()
def _sample(
    tables: Tables,
    units: UnitTables,
    partials: Partials,
    stack: UnitStack,
    task: int,
    streams: Streams,
) -> None:
    n = tables.arity.shape[0]
    mask = np.zeros(n, dtype=np.bool_)
    for b in range(partials.length.shape[0]):
        while partials.slots[b] > 0:
            fill_unit_mask(tables, units, partials, stack, b, task, n, mask)
            token = pick(mask, streams, b)
            append_units(tables, units, partials, stack, b, task, token)
            append_token(tables, partials, b, token)
