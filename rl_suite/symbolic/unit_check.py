"""Dimensional analysis of a whole program in a numba kernel: are its sums and functions consistent?

Units are the integer vectors of ``envs.symbolic.units``, in which square roots stay whole numbers.
The unit of the program itself is free: the search gives every law a power-law or linear frame, which
sets it. A fitted constant may have any unit where ``CONSTANTS_FREE`` is asked for.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from envs.symbolic.tokens import CONSTANT, OPERATIONS

EQUAL, MULTIPLY, DIVIDE, KEEP, SQUARE, CUBE, ROOT, INVERSE, NONE = range(9)
_CODES = {"equal": EQUAL, "mul": MULTIPLY, "div": DIVIDE, "keep": KEEP, "square": SQUARE, "cube": CUBE}
_CODES |= {"sqrt": ROOT, "inverse": INVERSE, "none": NONE}
RULES: NDArray[np.int64] = np.zeros(max(op.opcode for op in OPERATIONS.values()) + 1, dtype=np.int64)
for _op in OPERATIONS.values():
    RULES[_op.opcode] = _CODES[_op.units]
POW = OPERATIONS["pow"].opcode
RULES_FREE_CONSTANTS = RULES.copy()
RULES_FREE_CONSTANTS[CONSTANT] = 1


@njit(cache=True)
def infer(
    tokens: NDArray[np.int16],
    length: int,
    opcode: NDArray[np.int64],
    units: NDArray[np.int64],
    rules: NDArray[np.int64],
    result: NDArray[np.int64],
) -> int:
    """Write the unit of a program into ``result`` (U,): 1 if it is determined, 0 if free, -1 if inconsistent."""
    n_units = units.shape[1]
    stack = np.zeros((length + 1, n_units), np.int64)
    free = np.zeros(length + 1, np.bool_)
    top = 0
    for i in range(length - 1, -1, -1):
        token = tokens[i]
        code = opcode[token]
        if code <= CONSTANT:
            free[top] = code == CONSTANT and rules[CONSTANT] == 1
            stack[top] = units[token]
            top += 1
            continue
        rule = rules[code]
        a = top - 1
        b = top - 2
        if rule == EQUAL:
            top -= 1
            if free[a] or free[b]:
                if not free[a]:
                    stack[b] = stack[a]
                free[b] = free[a] and free[b]
            else:
                for k in range(n_units):
                    if stack[a, k] != stack[b, k]:
                        return -1
        elif rule in (MULTIPLY, DIVIDE):
            top -= 1
            sign = 1 if rule == MULTIPLY else -1
            free[b] = free[a] or free[b]
            for k in range(n_units):
                stack[b, k] = stack[a, k] + sign * stack[b, k]
        elif rule == NONE:
            first = top - 2 if code == POW else top - 1
            for j in range(first, top):
                for k in range(n_units):
                    if stack[j, k] != 0 and not free[j]:
                        return -1
            top = first + 1
            free[first] = False
            stack[first] = 0
        elif rule != KEEP:
            for k in range(n_units):
                if rule == SQUARE:
                    stack[a, k] *= 2
                elif rule == CUBE:
                    stack[a, k] *= 3
                elif rule == INVERSE:
                    stack[a, k] = -stack[a, k]
                else:
                    if stack[a, k] % 2 != 0:
                        return -1
                    stack[a, k] //= 2
    result[:] = stack[0]
    return 0 if free[0] else 1


@njit(cache=True)
def consistent(
    tokens: NDArray[np.int16],
    length: int,
    opcode: NDArray[np.int64],
    units: NDArray[np.int64],
    rules: NDArray[np.int64],
) -> bool:
    """Whether every sum adds equal units and every function takes a pure number."""
    return infer(tokens, length, opcode, units, rules, np.zeros(units.shape[1], np.int64)) >= 0
