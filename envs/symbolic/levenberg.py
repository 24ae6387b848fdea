"""Levenberg-Marquardt for one program, with exact derivatives, in a numba kernel.

Damped least squares after Marquardt (1963): the normal equations are scaled by their own diagonal, so that
constants of very different size are treated alike; the damping follows the gain ratio of Nielsen (1999).
Every operation has one order, so the same input gives the same bits whatever lies in memory beside it.
"""

import math

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.gradient import run_with_gradient
from envs.symbolic.program import BLOCK, Machine, Points, load_block

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SMALLEST_STEP = 1.0e-12  # relative decrease of the error below which a fit has converged
FIRST_DAMPING = 1.0e-3
# Constants that say the same thing twice (a*x + b*x) leave the normal equations singular: the damping alone
# holds their step, and below this share of the diagonal it would be lost among the rounding errors.
LOWEST_DAMPING = 1.0e-12
HIGHEST_DAMPING = 1.0e12
LARGEST_DERIVATIVE = 1.0e150  # so that its square stays finite


@kernel(error_model="numpy")
def fit_one(
    program: NDArray[np.int16],
    length: int,
    machine: Machine,
    points: Points,
    constants: Floats,
    gradient: Floats,
    free: Flags,
    max_iterations: int,
    good_enough: float,
) -> tuple[float, int]:
    """Fit ``constants`` (k,) in place, those that are ``free`` (k,); (mean squared error, evaluations)."""
    k = constants.shape[0]
    normal, slope = np.empty((k, k)), np.empty(k)  # J^T J and J^T r at the accepted point
    new_normal, new_slope = np.empty((k, k)), np.empty(k)
    factor, step, trial = np.empty((k, k)), np.empty(k), np.empty(k)
    error = normal_equations(program, length, machine, points, constants, gradient, free, normal, slope)
    used = 1
    if error == np.inf:
        return np.inf, used
    damping, growth = FIRST_DAMPING, 2.0
    for _ in range(max_iterations):
        if error <= good_enough * points.n or damping > HIGHEST_DAMPING:
            break
        if not solve_damped(normal, slope, damping, factor, step):
            damping *= growth
            growth *= 2.0
            continue
        predicted = 0.0
        for i in range(k):
            trial[i] = constants[i] - step[i]
            predicted += step[i] * (slope[i] + damping * normal[i, i] * step[i])
        new_error = normal_equations(program, length, machine, points, trial, gradient, free, new_normal, new_slope)
        used += 1
        if new_error < error:
            gain = (error - new_error) / max(predicted, 1e-300)
            damping = max(damping * max(0.1, 1.0 - (2.0 * gain - 1.0) ** 3), LOWEST_DAMPING)
            growth = 2.0
            converged = error - new_error <= SMALLEST_STEP * error
            error = new_error
            for i in range(k):
                constants[i] = trial[i]
            normal, new_normal = new_normal, normal
            slope, new_slope = new_slope, slope
            if converged:
                break
        else:
            if new_error - error <= SMALLEST_STEP * error:
                break
            damping *= growth
            growth *= 2.0
    return error / points.n, used


@kernel(allocates=False, error_model="numpy", fastmath={"contract", "reassoc"})
def normal_equations(
    program: NDArray[np.int16],
    length: int,
    machine: Machine,
    points: Points,
    constants: Floats,
    gradient: Floats,
    free: Flags,
    normal: Floats,
    slope: Floats,
) -> float:
    """Sum of squared residuals; fills J^T J (k, k) and J^T r (k,). inf if a value is not finite.

    A point where a derivative is not finite (sqrt(c*x) at 0) does not speak for that constant. A constant that
    is held has slope 0 and no part in the others' equations.
    """
    k = constants.shape[0]
    workspace = machine.workspace
    total = 0.0
    for a in range(k):
        slope[a] = 0.0
        for b in range(k):
            normal[a, b] = 0.0
    for first in range(0, points.n, BLOCK):
        m = min(BLOCK, points.n - first)
        load_block(machine, points.columns, first, m)
        row = run_with_gradient(program, length, machine, constants, gradient, m)
        if row < 0:
            return np.inf
        for i in range(m):
            workspace[row, i] -= points.target[first + i]
            total += workspace[row, i] * workspace[row, i]
        for a in range(k):
            if not free[a]:
                continue
            s = _square(gradient, a, m)
            if not s < np.inf:
                _drop_infinite(gradient, a, m)
                s = _square(gradient, a, m)
            normal[a, a] += s
            s = 0.0
            for i in range(m):
                s += gradient[a, i] * workspace[row, i]
            slope[a] += s
            for b in range(a):
                if free[b]:
                    s = 0.0
                    for i in range(m):
                        s += gradient[a, i] * gradient[b, i]
                    normal[a, b] += s
    for a in range(k):
        if not free[a]:
            normal[a, a] = 1.0
        for b in range(a + 1):
            normal[b, a] = normal[a, b]
            if not (abs(normal[a, b]) < np.inf and abs(slope[a]) < np.inf):
                return np.inf
    return total if total < np.inf else np.inf


@kernel(allocates=False, error_model="numpy")
def solve_damped(normal: Floats, slope: Floats, damping: float, factor: Floats, step: Floats) -> bool:
    """Solve (N + damping diag N) step = slope by Cholesky; False if the matrix is not positive definite."""
    k = slope.shape[0]
    for a in range(k):
        for b in range(a + 1):
            s = normal[a, b]
            if a == b:
                s += damping * s + 1e-300
            for j in range(b):
                s -= factor[a, j] * factor[b, j]
            if a == b:
                if not s > 0.0:
                    return False
                factor[a, a] = math.sqrt(s)
            else:
                factor[a, b] = s / factor[b, b]
    for a in range(k):
        s = slope[a]
        for j in range(a):
            s -= factor[a, j] * step[j]
        step[a] = s / factor[a, a]
    for a in range(k - 1, -1, -1):
        s = step[a]
        for j in range(a + 1, k):
            s -= factor[j, a] * step[j]
        step[a] = s / factor[a, a]
    return True


@kernel(allocates=False, error_model="numpy", fastmath={"contract", "reassoc"})
def _square(gradient: Floats, a: int, m: int) -> float:
    s = 0.0
    for i in range(m):
        s += gradient[a, i] * gradient[a, i]
    return s


@kernel(allocates=False, error_model="numpy")
def _drop_infinite(gradient: Floats, a: int, m: int) -> None:
    for i in range(m):
        if not abs(gradient[a, i]) <= LARGEST_DERIVATIVE:
            gradient[a, i] = 0.0


@kernel(error_model="numpy")
def covariance_of(normal: Floats, free: Flags, variance: float, covariance: Floats) -> None:
    """Covariance (k, k) of the free constants: variance times the inverse of J^T J; 0 for those that are held.

    The inverse is damped as the fit is: constants that the data cannot tell apart get a large variance. One
    that has no influence at all gets none.
    """
    k = free.shape[0]
    scaled, factor = np.zeros((k, k)), np.empty((k, k))
    size, unit, column = np.ones(k), np.zeros(k), np.empty(k)
    for a in range(k):
        if normal[a, a] > 0.0:
            size[a] = math.sqrt(normal[a, a])
    for a in range(k):
        for b in range(k):
            scaled[a, b] = normal[a, b] / size[a] / size[b]
        if normal[a, a] == 0.0:
            scaled[a, a] = 1.0
    for b in range(k):
        unit[:] = 0.0
        unit[b] = 1.0
        solved = solve_damped(scaled, unit, LOWEST_DAMPING, factor, column)
        for a in range(k):
            said = solved and free[a] and free[b] and normal[a, a] > 0.0 and normal[b, b] > 0.0
            covariance[a, b] = column[a] / size[a] / size[b] * variance if said else 0.0
