"""Fitted constants: Levenberg-Marquardt on whole batches of programs, with exact derivatives and restarts.

Damped least squares after Marquardt (1963): the normal equations are scaled by their own diagonal, so that
constants of very different size are treated alike; the damping follows the gain ratio of Nielsen (1999).
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from envs.streams import normal_at, uniform_at
from envs.symbolic.gradient import run_with_gradient
from envs.symbolic.program import (
    BLOCK,
    checked_programs,
    count_constants,
    input_columns,
    load_block,
    make_workspace,
    mean_square,
)
from envs.symbolic.tokens import Library

Floats = NDArray[np.float64]

SMALLEST_STEP = 1.0e-12  # relative decrease of the error below which a fit has converged
HIGHEST_DAMPING = 1.0e12
LOST_STARTS = 20  # random starts that may be drawn again because the program is not finite there


@dataclass(frozen=True, slots=True)
class Fits:
    """What :func:`fit_constants` found."""

    constants: Floats  # (P, k)
    mean_square: Floats  # (P,) inf where the program is finite for none of the tried constants
    evaluations: NDArray[np.int64]  # (P,) passes over the data


def fit_constants(
    programs: NDArray[np.int16],
    lengths: NDArray[np.int64],
    X: Floats,
    y: Floats,
    library: Library,
    initial: Floats | None = None,
    restarts: int = 4,
    max_iterations: int = 20,
    tolerance: float = 1.0e-20,
    seed: int = 0,
) -> Fits:
    """Least-squares constants of P programs on one dataset.

    The first start is ``initial`` or all ones; further starts are random in sign and size, different for
    every row and the same for every call with this seed. A program without constants is only evaluated.

    Args:
        programs: (P, L) token ids, padded.
        lengths: (P,).
        X: (n, d) inputs.
        y: (n,) targets.
        library: what the ids mean.
        initial: (P, k) values of the first start.
        restarts: random starts after the first, tried until one reaches ``tolerance``.
        max_iterations: steps per start.
        tolerance: mean squared error, in units of the variance of y, that is good enough to stop.
        seed: of the random starts.

    Raises:
        ValueError: shapes that do not fit, non-finite data, programs that are not whole.

    >>> from envs.symbolic.text import parse
    >>> library = Library("koza", ["x"], constant=True)
    >>> x = np.linspace(0.0, 1.0, 20)
    >>> program = parse("c*exp(c*x)", library).program
    >>> fits = fit_constants(program[None], np.array([len(program)]), x[:, None], 3 * np.exp(-2 * x), library)
    >>> fits.constants.round(6).tolist()
    [[3.0, -2.0]]
    """
    columns = input_columns(X, library)
    programs, lengths = checked_programs(programs, lengths, library)
    y = np.ascontiguousarray(y, dtype=np.float64)
    if y.shape != (columns.shape[1],) or not np.isfinite(y).all():
        raise ValueError(f"y must be {columns.shape[1]} finite numbers, not shape {y.shape}")
    counts = count_constants(programs, lengths, library)
    k = max(1, int(counts.max(initial=0)))
    constants = np.ones((len(programs), k))
    if initial is not None:
        if initial.ndim != 2 or len(initial) != len(programs) or initial.shape[1] < counts.max(initial=0):
            raise ValueError(f"initial must be ({len(programs)}, >= {counts.max(initial=0)}), not {initial.shape}")
        constants[:, : initial.shape[1]] = initial[:, :k]
    errors = np.empty(len(programs))
    evaluations = np.zeros(len(programs), dtype=np.int64)
    good_enough = tolerance * float(np.var(y))
    fit_kernel(
        programs, lengths, counts, library.opcode, library.index, library.value, columns, y, constants, errors,
        evaluations, restarts, max_iterations, good_enough, np.uint64(seed),
    )  # fmt: skip
    return Fits(constants, errors, evaluations)


@njit(cache=True, error_model="numpy")
def fit_kernel(
    programs: NDArray[np.int16],
    lengths: NDArray[np.int64],
    counts: NDArray[np.int64],
    opcode: NDArray[np.int64],
    index: NDArray[np.int64],
    value: Floats,
    columns: Floats,
    target: Floats,
    constants: Floats,
    errors: Floats,
    evaluations: NDArray[np.int64],
    restarts: int,
    max_iterations: int,
    good_enough: float,
    seed: np.uint64,
) -> None:
    """:func:`fit_constants` without checks; ``constants`` (P, k) holds the first start and then the result."""
    workspace = make_workspace(opcode, value, columns.shape[0])
    scratch = np.empty((constants.shape[1] + 2, BLOCK))
    stream = np.zeros(1, dtype=np.uint64)
    n = target.shape[0]
    for p in range(programs.shape[0]):
        stream[0] = (seed << np.uint64(32)) + np.uint64(p)
        errors[p], evaluations[p] = fit_program(
            programs[p], lengths[p], counts[p], opcode, index, columns, target, n, constants[p], workspace, scratch,
            restarts, max_iterations, good_enough, stream,
        )  # fmt: skip


@njit(cache=True, error_model="numpy")
def fit_program(
    program: NDArray[np.int16],
    length: int,
    k: int,
    opcode: NDArray[np.int64],
    index: NDArray[np.int64],
    columns: Floats,
    target: Floats,
    n: int,
    constants: Floats,
    workspace: Floats,
    scratch: Floats,
    restarts: int,
    max_iterations: int,
    good_enough: float,
    stream: NDArray[np.uint64],
) -> tuple[float, int]:
    """Fit the k constants of one program, first from ``constants``, which becomes the best result.

    Returns (mean squared error, evaluations). ``scratch`` is (k + 2, BLOCK) or larger.
    """
    if k == 0:
        return mean_square(program, length, opcode, index, columns, target, n, constants, workspace), 1
    gradient, best, trial = scratch[2:], scratch[0], scratch[1]
    lowest, evaluations, start, draws = np.inf, 0, 0, 0
    while start <= restarts and draws <= restarts + LOST_STARTS:
        if draws > 0:
            draw_start(trial[:k], stream)
        else:
            for i in range(k):
                trial[i] = best[i] = constants[i]
        draws += 1
        error, used = fit_one(
            program, length, opcode, index, columns, target, n, trial[:k], workspace, gradient,
            max_iterations, good_enough,
        )  # fmt: skip
        evaluations += used
        start += error < np.inf  # a start outside the program's domain costs one look and is drawn again
        if error < lowest:
            lowest = error
            for i in range(k):
                best[i] = trial[i]
        if lowest <= good_enough:
            break
    for i in range(k):
        constants[i] = best[i]
    return lowest, evaluations


@njit(cache=True)
def draw_start(constants: Floats, stream: NDArray[np.uint64]) -> None:
    """A random start: half of the values near 0, half of any size between 0.1 and 10, both signs."""
    for i in range(constants.shape[0]):
        if uniform_at(stream, 0) < 0.5:
            constants[i] = normal_at(stream, 0)
        else:
            constants[i] = math.exp(math.log(10.0) * (2.0 * uniform_at(stream, 0) - 1.0))
            if uniform_at(stream, 0) < 0.5:
                constants[i] = -constants[i]


@njit(cache=True, error_model="numpy")
def fit_one(
    program: NDArray[np.int16],
    length: int,
    opcode: NDArray[np.int64],
    index: NDArray[np.int64],
    columns: Floats,
    target: Floats,
    n: int,
    constants: Floats,
    workspace: Floats,
    gradient: Floats,
    max_iterations: int,
    good_enough: float,
) -> tuple[float, int]:
    """Levenberg-Marquardt from ``constants`` (k,), which become the result; (mean squared error, evaluations)."""
    k = constants.shape[0]
    normal, slope = np.empty((k, k)), np.empty(k)  # J^T J and J^T r at the accepted point
    new_normal, new_slope = np.empty((k, k)), np.empty(k)
    factor, step, trial = np.empty((k, k)), np.empty(k), np.empty(k)
    error = _normal_equations(
        program, length, opcode, index, columns, target, n, constants, workspace, gradient, normal, slope
    )
    used = 1
    if error == np.inf:
        return np.inf, used
    damping, growth = 1.0e-3, 2.0
    for _ in range(max_iterations):
        if error <= good_enough * n or damping > HIGHEST_DAMPING:
            break
        if not _solve_damped(normal, slope, damping, factor, step):
            damping *= growth
            growth *= 2.0
            continue
        predicted = 0.0
        for i in range(k):
            trial[i] = constants[i] - step[i]
            predicted += step[i] * (slope[i] + damping * normal[i, i] * step[i])
        new_error = _normal_equations(
            program, length, opcode, index, columns, target, n, trial, workspace, gradient, new_normal, new_slope
        )
        used += 1
        if new_error < error:
            gain = (error - new_error) / max(predicted, 1e-300)
            damping *= max(0.1, 1.0 - (2.0 * gain - 1.0) ** 3)
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
    return error / n, used


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _normal_equations(
    program: NDArray[np.int16],
    length: int,
    opcode: NDArray[np.int64],
    index: NDArray[np.int64],
    columns: Floats,
    target: Floats,
    n: int,
    constants: Floats,
    workspace: Floats,
    gradient: Floats,
    normal: Floats,
    slope: Floats,
) -> float:
    """Sum of squared residuals; fills J^T J (k, k) and J^T r (k,). inf if a value or derivative is not finite."""
    k = constants.shape[0]
    d = columns.shape[0]
    total = 0.0
    for a in range(k):
        slope[a] = 0.0
        for b in range(k):
            normal[a, b] = 0.0
    for first in range(0, n, BLOCK):
        m = min(BLOCK, n - first)
        load_block(columns, first, m, workspace)
        row = run_with_gradient(program, length, opcode, index, constants, workspace, gradient, d, m)
        if row < 0:
            return np.inf
        for i in range(m):
            workspace[row, i] -= target[first + i]
            total += workspace[row, i] * workspace[row, i]
        for a in range(k):
            s = 0.0
            for i in range(m):
                s += gradient[a, i] * workspace[row, i]
            slope[a] += s
            for b in range(a + 1):
                s = 0.0
                for i in range(m):
                    s += gradient[a, i] * gradient[b, i]
                normal[a, b] += s
    for a in range(k):
        for b in range(a + 1):
            normal[b, a] = normal[a, b]
            if not (abs(normal[a, b]) < np.inf and abs(slope[a]) < np.inf):
                return np.inf
    return total if total < np.inf else np.inf


@njit(cache=True, error_model="numpy")
def _solve_damped(normal: Floats, slope: Floats, damping: float, factor: Floats, step: Floats) -> bool:
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
