"""One loop per operation over a block of points; the loops that matter are free of calls and branches."""

import math

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.fastmath import TRIG_LIMIT, cos_poly, exp_poly, log_poly, sin_poly
from envs.symbolic.tokens import (
    ABS,
    ACOS,
    ADD,
    ASIN,
    ATAN,
    ATAN2,
    COS,
    COSH,
    CUBE,
    DIV,
    EXP,
    INV,
    LOG,
    MAX,
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
)

Floats = NDArray[np.float64]

LARGEST = np.finfo(np.float64).max


@kernel(allocates=False, error_model="numpy", fastmath={"contract"})
def apply_operation(op: int, W: Floats, left: int, right: int, row: int, m: int) -> bool:
    """W[row] = op(W[left], W[right]) on the first m points, or op(W[left]); False if a value is not finite.

    ``op`` is an opcode of ``OPERATIONS``; ``row`` must be neither ``left`` nor ``right``: LLVM checks for
    overlap when the loop starts and would fall back to scalar code.
    """
    if op == ADD:
        for i in range(m):
            W[row, i] = W[left, i] + W[right, i]
    elif op == SUB:
        for i in range(m):
            W[row, i] = W[left, i] - W[right, i]
    elif op == MUL:
        for i in range(m):
            W[row, i] = W[left, i] * W[right, i]
    elif op == DIV:
        for i in range(m):
            W[row, i] = W[left, i] / W[right, i]
    elif op == NEG:
        for i in range(m):
            W[row, i] = -W[left, i]
        return True
    elif op == INV:
        for i in range(m):
            W[row, i] = 1.0 / W[left, i]
    elif op == SQ:
        for i in range(m):
            W[row, i] = W[left, i] * W[left, i]
    elif op == CUBE:
        for i in range(m):
            W[row, i] = W[left, i] * W[left, i] * W[left, i]
    elif op == SQRT:
        for i in range(m):
            W[row, i] = math.sqrt(W[left, i])
    elif op == ABS:
        for i in range(m):
            W[row, i] = abs(W[left, i])
        return True
    elif op == EXP:
        for i in range(m):
            W[row, i] = exp_poly(W[left, i])
    elif op == LOG:
        for i in range(m):
            W[row, i] = log_poly(W[left, i])
    elif op in (SIN, COS):
        _apply_trigonometric(op, W, left, row, m)
        return True
    else:
        _apply_rare(op, W[left, :m], W[right, :m], W[row, :m])
    bad = 0
    for i in range(m):
        bad += not (abs(W[row, i]) <= LARGEST)
    return bad == 0


@kernel(allocates=False, error_model="numpy", fastmath={"contract"})
def _apply_trigonometric(op: int, W: Floats, left: int, row: int, m: int) -> None:
    """Polynomials, unless a value is so large that only the C library knows its period."""
    far = 0
    if op == SIN:
        for i in range(m):
            W[row, i] = sin_poly(W[left, i])
            far += abs(W[left, i]) > TRIG_LIMIT
        if far > 0:
            for i in range(m):
                W[row, i] = math.sin(W[left, i])
    else:
        for i in range(m):
            W[row, i] = cos_poly(W[left, i])
            far += abs(W[left, i]) > TRIG_LIMIT
        if far > 0:
            for i in range(m):
                W[row, i] = math.cos(W[left, i])


@kernel(allocates=False, error_model="numpy", fastmath={"contract"})
def _apply_rare(op: int, a: Floats, b: Floats, r: Floats) -> None:
    """Operations left to the C library: too rare in laws to deserve polynomials."""
    for i in range(r.shape[0]):
        x = a[i]
        if op == POW:
            r[i] = x ** b[i]
        elif op == MIN:
            r[i] = min(x, b[i])
        elif op == MAX:
            r[i] = max(x, b[i])
        elif op == ATAN2:
            r[i] = math.atan2(x, b[i])
        elif op == SIGN:
            r[i] = np.sign(x)
        elif op == STEP:
            r[i] = 1.0 if x >= 0.0 else 0.0
        elif op == TAN:
            r[i] = math.tan(x)
        elif op == ASIN:
            r[i] = math.asin(x) if abs(x) <= 1.0 else np.nan
        elif op == ACOS:
            r[i] = math.acos(x) if abs(x) <= 1.0 else np.nan
        elif op == ATAN:
            r[i] = math.atan(x)
        elif op == SINH:
            r[i] = math.sinh(x)
        elif op == COSH:
            r[i] = math.cosh(x)
        else:
            r[i] = math.tanh(x)
