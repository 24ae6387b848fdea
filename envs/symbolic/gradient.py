"""Values of a program and their derivatives with respect to its fitted constants, in one forward pass.

Every constant stands in one place of the tree, and the constants of a subtree are neighbours in prefix
order. So one row per constant is enough: it starts as 1 where the constant is read, and each operation
above multiplies the rows of its arguments' constants by its partial derivative (chain rule), in place.
"""

import math

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.fastmath import TRIG_LIMIT, cos_poly, log_poly, sin_poly
from envs.symbolic.operations import apply_operation
from envs.symbolic.program import Machine
from envs.symbolic.tokens import (
    ABS,
    ACOS,
    ASIN,
    ATAN,
    ATAN2,
    CONSTANT,
    COS,
    COSH,
    CUBE,
    DIV,
    EXP,
    INV,
    LAST_BINARY,
    LITERAL,
    LOG,
    MAX,
    MAX_STACK,
    MIN,
    MUL,
    NEG,
    POW,
    SIGN,
    SIN,
    SINH,
    SQ,
    SQRT,
    STEP,
    SUB,
    TAN,
    VARIABLE,
)

Floats = NDArray[np.float64]


@kernel(error_model="numpy")
def run_with_gradient(
    program: NDArray[np.int16],
    length: int,
    machine: Machine,
    constants: Floats,
    gradient: Floats,
    m: int,
) -> int:
    """As ``run_program``; also fills gradient (k, :m) with the derivative by each constant."""
    opcode, workspace = machine.opcode, machine.workspace
    stack = np.empty(MAX_STACK, dtype=np.int64)
    first = np.empty(MAX_STACK, dtype=np.int64)  # constants of each operand: first .. last - 1
    last = np.empty(MAX_STACK, dtype=np.int64)
    base = machine.n_variables + opcode.shape[0]
    level = 0
    k = 0
    for i in range(length):
        k += opcode[program[i]] == CONSTANT
    for i in range(length - 1, -1, -1):
        token = program[i]
        op = opcode[token]
        if op <= CONSTANT:
            first[level] = last[level] = k
            if op == VARIABLE:
                stack[level] = machine.column[token]
            elif op == LITERAL:
                stack[level] = machine.n_variables + token
            else:
                k -= 1
                first[level] = k
                stack[level] = base + 3 * level + 2
                for j in range(m):
                    workspace[stack[level], j] = constants[k]
                    gradient[k, j] = 1.0
            level += 1
            continue
        left = right = stack[level - 1]
        k_left, k_middle = first[level - 1], last[level - 1]
        k_right = k_middle
        if op <= LAST_BINARY:
            level -= 1
            right = stack[level - 1]
            k_middle, k_right = first[level - 1], last[level - 1]
        row = base + 3 * (level - 1)
        row += right == row
        if not apply_operation(op, workspace, left, right, row, m):
            return -1
        if k_left < k_right:
            _chain(op, workspace, left, right, row, gradient, k_left, k_middle, k_right, m)
        stack[level - 1] = row
        first[level - 1], last[level - 1] = k_left, k_right
    return int(stack[0])


@kernel(allocates=False, error_model="numpy", fastmath={"contract"})
def _chain(
    op: int, W: Floats, left: int, right: int, row: int, D: Floats, k_left: int, k_middle: int, k_right: int, m: int
) -> None:
    """D[k] *= d row / d left for the constants of the left argument, d row / d right for those of the right."""
    if op == SUB:
        for k in range(k_middle, k_right):
            for i in range(m):
                D[k, i] = -D[k, i]
    elif op == MUL:
        for k in range(k_left, k_middle):
            for i in range(m):
                D[k, i] *= W[right, i]
        for k in range(k_middle, k_right):
            for i in range(m):
                D[k, i] *= W[left, i]
    elif op == DIV:
        for k in range(k_left, k_middle):
            for i in range(m):
                D[k, i] /= W[right, i]
        for k in range(k_middle, k_right):
            for i in range(m):
                D[k, i] *= -W[row, i] / W[right, i]
    elif op == POW:
        for k in range(k_left, k_middle):
            for i in range(m):
                D[k, i] *= W[right, i] * W[left, i] ** (W[right, i] - 1.0)
        for k in range(k_middle, k_right):
            for i in range(m):
                D[k, i] *= W[row, i] * log_poly(W[left, i])
    elif op in (MIN, MAX, ATAN2):
        _chain_rare(op, W[left, :m], W[right, :m], D[k_left:k_middle, :m], D[k_middle:k_right, :m])
    elif op > LAST_BINARY:
        for k in range(k_left, k_right):
            _chain_unary(op, W, left, row, D, k, m)


@kernel(allocates=False, error_model="numpy")
def _chain_rare(op: int, a: Floats, b: Floats, of_a: Floats, of_b: Floats) -> None:
    """The rows of the constants in both arguments of min, max and atan2; (k, m) each."""
    for i in range(a.shape[0]):
        if op == ATAN2:
            size = a[i] * a[i] + b[i] * b[i]
            by_a, by_b = b[i] / size, -a[i] / size
        else:
            first = a[i] <= b[i] if op == MIN else a[i] >= b[i]
            by_a, by_b = (1.0, 0.0) if first else (0.0, 1.0)
        for k in range(of_a.shape[0]):
            of_a[k, i] *= by_a
        for k in range(of_b.shape[0]):
            of_b[k, i] *= by_b


@kernel(allocates=False, error_model="numpy", fastmath={"contract"})
def _chain_unary(op: int, W: Floats, left: int, row: int, D: Floats, k: int, m: int) -> None:
    """D[k] *= f'(W[left]), where W[row] = f(W[left])."""
    if op == NEG:
        for i in range(m):
            D[k, i] = -D[k, i]
    elif op == INV:
        for i in range(m):
            D[k, i] *= -W[row, i] * W[row, i]
    elif op == SQ:
        for i in range(m):
            D[k, i] *= 2.0 * W[left, i]
    elif op == CUBE:
        for i in range(m):
            D[k, i] *= 3.0 * W[left, i] * W[left, i]
    elif op == SQRT:
        for i in range(m):
            D[k, i] *= 0.5 / W[row, i]
    elif op == EXP:
        for i in range(m):
            D[k, i] *= W[row, i]
    elif op == LOG:
        for i in range(m):
            D[k, i] /= W[left, i]
    elif op == SIN:
        for i in range(m):
            D[k, i] *= cos_poly(W[left, i]) if abs(W[left, i]) <= TRIG_LIMIT else math.cos(W[left, i])
    elif op == COS:
        for i in range(m):
            D[k, i] *= -sin_poly(W[left, i]) if abs(W[left, i]) <= TRIG_LIMIT else -math.sin(W[left, i])
    else:
        for i in range(m):
            D[k, i] *= _rare_derivative(op, W[left, i], W[row, i])


@kernel(allocates=False, error_model="numpy")
def _rare_derivative(op: int, x: float, y: float) -> float:
    """f'(x), where y = f(x), of the operations that are left to the C library."""
    if op == ABS:
        return 1.0 if x >= 0.0 else -1.0
    if op in (SIGN, STEP):
        return 0.0
    if op == TAN:
        return 1.0 + y * y
    if op == ASIN:
        return 1.0 / math.sqrt(1.0 - x * x)
    if op == ACOS:
        return -1.0 / math.sqrt(1.0 - x * x)
    if op == ATAN:
        return 1.0 / (1.0 + x * x)
    if op == SINH:
        return math.cosh(x)
    if op == COSH:
        return math.sinh(x)
    return 1.0 - y * y
