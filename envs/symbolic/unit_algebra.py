"""How functions carry units: from a value to its arguments, and from arguments to the value."""

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.copying import copy_row
from envs.symbolic.reach import ANY, INVERTED, ROOTED, SQUARED
from envs.symbolic.tokens import CONSTANT, LAST_BINARY, LAST_OPCODE, OPERATIONS

Ints = NDArray[np.int64]

RULES = ("equal", "mul", "div", "keep", "square", "cube", "sqrt", "inverse", "none", "variable", "constant")
EQUAL, MUL, DIV, KEEP, SQUARE, CUBE, SQRT, INVERSE, NONE = range(9)

RULE_OF_OPCODE: Ints = np.zeros(LAST_OPCODE + 1, dtype=np.int64)
for _op in OPERATIONS.values():
    RULE_OF_OPCODE[_op.opcode] = RULES.index(_op.units)


@kernel(allocates=False)
def argument_unit(rule: int, unit: Ints, known: bool, result: Ints) -> int:
    """Unit of the first argument of a function whose value has ``unit``: 1 known, 0 free, -1 impossible."""
    n = unit.shape[0]
    if rule == NONE:
        for i in range(n):
            if known and unit[i] != 0:
                return -1
            result[i] = 0
        return 1
    if not known or rule in (MUL, DIV):
        return 0
    for i in range(n):
        if rule == SQUARE:
            if unit[i] % 2 != 0:
                return -1
            result[i] = unit[i] // 2
        elif rule == CUBE:
            if unit[i] % 3 != 0:
                return -1
            result[i] = unit[i] // 3
        elif rule == SQRT:
            result[i] = 2 * unit[i]
        elif rule == INVERSE:
            result[i] = -unit[i]
        else:
            result[i] = unit[i]
    return 1


@kernel(allocates=False)
def second_unit(rule: int, unit: Ints, known: bool, first: Ints, first_known: bool, result: Ints) -> int:
    """Unit of the second argument, given the function's and the first argument's: 1 known, 0 free."""
    n = unit.shape[0]
    if rule == NONE:
        for i in range(n):
            result[i] = 0
        return 1
    if rule == EQUAL:
        for i in range(n):
            result[i] = unit[i] if known else first[i]
        return 1 if known or first_known else 0
    if not (known and first_known):
        return 0
    for i in range(n):
        result[i] = unit[i] - first[i] if rule == MUL else first[i] - unit[i]
    return 1


@kernel(allocates=False)
def value_unit(
    rule: int, unit: Ints, known: bool, a: Ints, a_known: bool, b: Ints, b_known: bool, result: Ints
) -> bool:
    """Unit of a function's value from its own requirement and its arguments' units; False if it is free.

    ``result`` may be ``a`` or ``b``. The mask sees to it that no exponent under a root is odd.
    """
    n = unit.shape[0]
    if known:
        for i in range(n):
            result[i] = unit[i]
        return True
    if rule == NONE:
        for i in range(n):
            result[i] = 0
        return True
    if rule == EQUAL:
        for i in range(n):
            result[i] = a[i] if a_known else b[i]
        return a_known or b_known
    if not a_known or (rule in (MUL, DIV) and not b_known):
        return False
    for i in range(n):
        if rule == MUL:
            result[i] = a[i] + b[i]
        elif rule == DIV:
            result[i] = a[i] - b[i]
        elif rule == SQUARE:
            result[i] = 2 * a[i]
        elif rule == CUBE:
            result[i] = 3 * a[i]
        elif rule == SQRT:
            result[i] = a[i] // 2
        elif rule == INVERSE:
            result[i] = -a[i]
        else:
            result[i] = a[i]
    return True


@kernel(allocates=False)
def has_root(rule: int, unit: Ints, known: bool) -> bool:
    """Whether a root of this unit can be written in whole parts of ``SCALE``."""
    odd = 0
    if rule == SQRT and known:
        for i in range(unit.shape[0]):
            odd += unit[i] % 2
    return odd == 0


@kernel(allocates=False)
def forbidden_below(rule: int) -> int:
    """What a chain must not begin with under a function: its inverse."""
    if rule == SQRT:
        return SQUARED
    if rule == SQUARE:
        return ROOTED
    return INVERTED if rule == INVERSE else ANY


@kernel(allocates=False)
def consistent_arguments(rule: int, a: Ints, a_known: bool, b: Ints, b_known: bool) -> bool:
    """Whether a function may have arguments of these units."""
    if rule == EQUAL and a_known and b_known:
        for i in range(a.shape[0]):
            if a[i] != b[i]:
                return False
    if rule == NONE:
        for i in range(a.shape[0]):
            if (a_known and a[i] != 0) or (b_known and b[i] != 0):
                return False
    return has_root(rule, a, a_known)


@kernel()
def program_unit(
    tokens: NDArray[np.int16], length: int, opcode: Ints, units: Ints, wild_constants: bool, result: Ints
) -> int:
    """Write the unit of a program into ``result`` (U,): 1 if it is determined, 0 if free, -1 if inconsistent.

    ``units`` (n, U) are those of the tokens; ``wild_constants``: a fitted constant may have any unit.
    """
    n_units = units.shape[1]
    stack = np.zeros((length + 1, n_units), np.int64)
    known = np.zeros(length + 1, np.bool_)
    top = 0
    for i in range(length - 1, -1, -1):
        token = tokens[i]
        code = opcode[token]
        if code <= CONSTANT:
            known[top] = not (wild_constants and code == CONSTANT)
            copy_row(units[token], stack[top], n_units)
            top += 1
            continue
        rule = RULE_OF_OPCODE[code]
        first = top - 1  # the first argument was read last
        second = top - 2 if code <= LAST_BINARY else first
        if not consistent_arguments(rule, stack[first], known[first], stack[second], known[second]):
            return -1
        known[second] = value_unit(
            rule, result, False, stack[first], known[first], stack[second], known[second], stack[second]
        )
        top = second + 1
    copy_row(stack[0], result, n_units)
    return 1 if known[0] else 0


@kernel()
def has_units(tokens: NDArray[np.int16], length: int, opcode: Ints, units: Ints, wild_constants: bool) -> bool:
    """Whether every sum of a program adds equal units and every function takes a pure number."""
    return program_unit(tokens, length, opcode, units, wild_constants, np.zeros(units.shape[1], np.int64)) >= 0
