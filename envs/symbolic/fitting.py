"""Fitted constants of whole batches of programs, with restarts; and of one program, with errors of measurement."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.streams import normal_at, uniform_at
from envs.symbolic.levenberg import covariance_of, fit_one, normal_equations
from envs.symbolic.program import (
    BLOCK,
    Machine,
    Points,
    checked_programs,
    count_constants,
    input_columns,
    make_machine,
    mean_square,
    real,
)
from envs.symbolic.tokens import VARIABLE, Library, TokenTable

Floats = NDArray[np.float64]

SCREENED = 32  # random starts that are looked at, of which one is fitted from
LOST_STARTS = 20  # random starts that may be drawn again because the program is not finite there


class Effort(NamedTuple):
    """How long a fit is tried."""

    restarts: int  # random starts after the first
    max_iterations: int  # steps per start


class Fits(NamedTuple):
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

    The first start is ``initial`` or all ones. Each further one is the best of ``SCREENED`` that are random in
    sign and size, different for every row and the same for every call with this seed. A program without
    constants is only evaluated.

    Args:
        programs: (P, L) token ids, padded.
        lengths: (P,).
        X: (n, d) inputs.
        y: (n,) targets, or (P, n) if every program has its own.
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
    targets = _checked_targets(y, len(programs), columns.shape[1])
    counts = count_constants(programs, lengths, library)
    fits = Fits(
        _first_start(initial, len(programs), int(counts.max(initial=0))),
        np.empty(len(programs)),
        np.zeros(len(programs), dtype=np.int64),
    )
    good_enough = tolerance * targets.var(axis=1)
    effort = Effort(restarts, max_iterations)
    fit_kernel(programs, lengths, counts, library.table, columns, targets, fits, effort, good_enough, np.uint64(seed))
    return fits


def _checked_targets(y: Floats, n_programs: int, n_points: int) -> Floats:
    """One target for all programs (1, n), or one for each (P, n)."""
    y = real("y", y)
    if y.shape not in ((n_points,), (n_programs, n_points)) or not np.isfinite(y).all():
        raise ValueError(f"y must be {n_points} finite numbers, or as many for each program, not {y.shape}")
    return y if y.ndim == 2 else y[None]


def _first_start(initial: Floats | None, n_programs: int, needed: int) -> Floats:
    """Constants (P, >= 1) that the fits begin with."""
    constants = np.ones((n_programs, max(1, needed)))
    if initial is not None:
        initial = real("initial", initial)
        if initial.ndim != 2 or len(initial) != n_programs or initial.shape[1] < needed:
            raise ValueError(f"initial must be ({n_programs}, >= {needed}), not {initial.shape}")
        constants[:, : initial.shape[1]] = initial[:, : constants.shape[1]]
    return constants


@kernel(error_model="numpy")
def fit_kernel(
    programs: NDArray[np.int16],
    lengths: NDArray[np.int64],
    counts: NDArray[np.int64],
    table: TokenTable,
    columns: Floats,
    targets: Floats,
    fits: Fits,
    effort: Effort,
    good_enough: Floats,
    seed: np.uint64,
) -> None:
    """:func:`fit_constants` without checks; ``fits.constants`` (P, k) holds the first start and then the result.

    ``targets`` (T, n) and ``good_enough`` (T,) are one for all or one for each.
    """
    machine = make_machine(table, columns.shape[0])
    scratch = np.empty((fits.constants.shape[1] + 2, BLOCK))
    stream = np.zeros(1, dtype=np.uint64)
    for p in range(programs.shape[0]):
        t = p if targets.shape[0] > 1 else 0
        stream[0] = (seed << np.uint64(32)) + np.uint64(p)
        points = Points(columns, targets[t], targets.shape[1])
        fits.mean_square[p], fits.evaluations[p] = fit_program(
            programs[p], lengths[p], counts[p], machine, points, fits.constants[p], scratch, effort, good_enough[t],
            stream,
        )  # fmt: skip


@kernel(error_model="numpy")
def fit_program(
    program: NDArray[np.int16],
    length: int,
    k: int,
    machine: Machine,
    points: Points,
    constants: Floats,
    scratch: Floats,
    effort: Effort,
    good_enough: float,
    stream: NDArray[np.uint64],
) -> tuple[float, int]:
    """Fit the k constants of one program, first from ``constants``, which becomes the best result.

    Returns (mean squared error, evaluations). ``scratch`` is (k + 2, BLOCK) or larger.
    """
    if k == 0:
        return mean_square(program, length, machine, points, constants), 1
    gradient, best, trial = scratch[2:], scratch[0], scratch[1]
    free = np.ones(k, dtype=np.bool_)
    lowest, evaluations, start, draws = np.inf, 0, 0, 0
    while start <= effort.restarts and draws <= effort.restarts + LOST_STARTS:
        if draws > 0:
            evaluations += draw_screened_start(program, length, machine, points, trial[:k], gradient[0, :k], stream)
        else:
            for i in range(k):
                trial[i] = best[i] = constants[i]
        draws += 1
        error, used = fit_one(
            program, length, machine, points, trial[:k], gradient, free, effort.max_iterations, good_enough
        )
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


@kernel(error_model="numpy")
def draw_screened_start(
    program: NDArray[np.int16],
    length: int,
    machine: Machine,
    points: Points,
    constants: Floats,
    trial: Floats,
    stream: NDArray[np.uint64],
) -> int:
    """The best of some random starts: a look at the error costs far less than a fit. Returns the looks."""
    lowest = np.inf
    for look in range(SCREENED):
        draw_start(trial, stream)
        error = mean_square(program, length, machine, points, trial)
        if look == 0 or error < lowest:
            lowest = error
            for i in range(constants.shape[0]):
                constants[i] = trial[i]
    return SCREENED


@kernel()
def draw_start(constants: Floats, stream: NDArray[np.uint64]) -> None:
    """A random start: half of the values near 0, half of any size between 0.1 and 10, both signs."""
    for i in range(constants.shape[0]):
        if uniform_at(stream, 0) < 0.5:
            constants[i] = normal_at(stream, 0)
        else:
            constants[i] = math.exp(math.log(10.0) * (2.0 * uniform_at(stream, 0) - 1.0))
            if uniform_at(stream, 0) < 0.5:
                constants[i] = -constants[i]


@dataclass(frozen=True, slots=True)
class Refined:
    """What :func:`refine_constants` found."""

    constants: Floats  # (k,)
    mean_square: float  # inf where the program is not finite
    covariance: Floats  # (k, k) of the free constants, 0 elsewhere


def refine_constants(
    program: NDArray[np.int16],
    columns: Floats,
    y: Floats,
    library: Library,
    start: Floats,
    free: NDArray[np.bool_],
    scale: float = 1.0,
    max_iterations: int = 20,
    root_weights: Floats | None = None,
) -> Refined:
    """Least-squares values of some constants of one program, near where they start, and how sure they are.

    Args:
        program: (L,) token ids.
        columns: (d, n) contiguous inputs.
        y: (n,) targets.
        library: what the ids mean; it has ``mul`` and a fitted constant.
        start: (k,) values of all constants.
        free: (k,) which of them are fitted; the others are held.
        scale: unit of the residuals; squares of the data in this unit must not overflow.
        max_iterations: steps.
        root_weights: (n,) factors of the residuals, the square roots of the weights of the points; 1 if not given.

    >>> from envs.symbolic.text import parse
    >>> library = Library("koza", ["x"], constant=True)
    >>> program, x = parse("c*x + c", library).program, np.linspace(0.0, 1.0, 20)
    >>> refined = refine_constants(program, x[None], 3 * x + 5, library, np.ones(2), np.array([True, False]))
    >>> refined.constants[1].item(), round(refined.mean_square, 2)
    (1.0, 4.31)
    """
    mul = library.id("mul")
    scaled = np.concatenate([[mul, library.constant_id], program]).astype(np.int16)
    table, target = library.table, y / scale
    if root_weights is not None:  # one more variable, which stands before the program
        scaled = np.concatenate([[mul, len(library)], scaled]).astype(np.int16)
        more = TokenTable(np.array([VARIABLE]), np.array([len(columns)]), np.array([np.nan]))
        table = TokenTable(*(np.concatenate(pair) for pair in zip(table, more, strict=True)))
        columns, target = np.concatenate([columns, root_weights[None]]), target * root_weights
    constants = np.concatenate([[1.0 / scale], start])
    movable = np.concatenate([[False], free])
    k = len(constants)
    covariance = np.zeros((k, k))
    error = refine_kernel(scaled, table, columns, target, constants, movable, covariance, max_iterations)
    return Refined(constants[1:], error * scale * scale, covariance[1:, 1:])


@kernel(error_model="numpy")
def refine_kernel(
    program: NDArray[np.int16],
    table: TokenTable,
    columns: Floats,
    target: Floats,
    constants: Floats,
    free: NDArray[np.bool_],
    covariance: Floats,
    max_iterations: int,
) -> float:
    """:func:`refine_constants` without checks; ``constants`` (k,) and ``covariance`` (k, k) are filled."""
    k = constants.shape[0]
    machine, points = make_machine(table, columns.shape[0]), Points(columns, target, target.shape[0])
    gradient, normal, slope = np.empty((k, BLOCK)), np.empty((k, k)), np.empty(k)
    error, _ = fit_one(program, len(program), machine, points, constants, gradient, free, max_iterations, 0.0)
    if error < np.inf:
        normal_equations(program, len(program), machine, points, constants, gradient, free, normal, slope)
        freedom = points.n
        for i in range(k):
            freedom -= free[i]
        freedom = max(freedom, 1)
        covariance_of(normal, free, max(error, 1e-30) * points.n / freedom, covariance)
    return error
