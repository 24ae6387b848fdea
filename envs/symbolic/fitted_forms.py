"""Forms with constants where a law may have some, fitted to data: one program of a form is one evaluation.

A form says which numbers may be in a law without saying where. Every term of a sum gets a coefficient, the
whole gets a factor, and the argument of a function that no factor passes through (exp, sin, log, ...) gets
one too. A factor that something outside can make up for is left out. With these constants, scaling any
column or the target by a positive number changes the constants and never the form.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.streams import normal_at, uniform_at
from envs.symbolic.copying import copy_row
from envs.symbolic.fitting import Fits
from envs.symbolic.law_forms import FUNCTIONS, form_library
from envs.symbolic.levenberg import fit_one
from envs.symbolic.program import BLOCK, Machine, Points, count_constants, make_machine
from envs.symbolic.tokens import PAD, TokenTable

Floats = NDArray[np.float64]
Programs = NDArray[np.int16]
Lengths = NDArray[np.int64]

FREE, OWN = 0, 1  # whether something outside makes up for a factor, or the form needs one of its own
MAX_DRESSED = 100  # tokens with constants; longer programs are not fitted
MAX_CONSTANTS = 12
ITERATIONS, GLANCE = 15, 3  # steps of a whole fit, and of one that only says whether a start is any good
STARTS, WAVE_STARTS = 24, 96  # random starts that are looked at; with a sine or a cosine there are many valleys
FITTED = 2  # of them are fitted from
ROUNDS, PROMISING = 4, 0.1  # rounds of random starts for a form whose NMSE came below this; others have one
EXACT = 1e-20  # NMSE that is good enough to stop
HIGHEST_WAVE, LOWEST_WAVE = 50.0, 0.3  # factors in sines that are tried

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LIBRARY = form_library(1)
_ADD, _MUL, _SQRT, _SIN, _COS = (_LIBRARY.id(name) for name in ("add", "mul", "sqrt", "sin", "cos"))
_ONE, _CONSTANT = _LIBRARY.id("1"), _LIBRARY.constant_id
_ARITY = _LIBRARY.arity
_OPAQUE = np.array([token.name in FUNCTIONS for token in _LIBRARY.tokens])


class Scaled(NamedTuple):
    """A data set in units in which constants are of the order of 1."""

    columns: Floats  # (d, n)
    target: Floats  # (n,)
    sizes: Floats  # (d,) root mean squares that the columns were divided by
    size: float  # of the target


def scaled(X: Floats, y: Floats) -> Scaled:
    """Columns and target over their root mean squares; X (n, d), y (n,) finite."""
    sizes, size = np.sqrt((X * X).mean(axis=0)), float(np.sqrt((y * y).mean()))
    sizes[sizes == 0.0] = 1.0
    size = size or 1.0
    return Scaled(np.ascontiguousarray((X / sizes).T), y / size, sizes, size)


def dress(programs: Programs, lengths: Lengths) -> tuple[Programs, Lengths]:
    """Programs of forms (P, L) with constants put in, (P, MAX_DRESSED); length 0 where they do not fit."""
    dressed = np.full((len(programs), MAX_DRESSED), PAD, np.int16)
    sizes = np.zeros(len(programs), np.int64)
    _dress_all(np.ascontiguousarray(programs, np.int16), lengths, dressed, sizes)
    return dressed, sizes


@kernel()
def _dress_all(programs: Programs, lengths: Lengths, dressed: Programs, sizes: Lengths) -> None:
    modes = np.zeros(MAX_DRESSED + 8, np.int64)
    for p in range(programs.shape[0]):
        sizes[p] = _dress_one(programs[p], lengths[p], dressed[p], modes)


@kernel()
def _dress_one(program: NDArray[np.int16], length: int, out: NDArray[np.int16], modes: Lengths) -> int:
    """Write one dressed program; 0 if it is too long. ``modes`` is a stack: one entry per open argument."""
    open_, n, constants = 1, 0, 0
    modes[0] = OWN
    inside_root = np.zeros(modes.shape[0], np.bool_)
    for i in range(length):
        if n + 3 > out.shape[0] or open_ + 2 > modes.shape[0]:
            return 0
        token = program[i]
        open_ -= 1
        mode, root = modes[open_], inside_root[open_]
        if token == _ADD:
            out[n] = token
            n += 1
            # the left term of a sum that is scaled from outside needs no coefficient, but under a root its sign matters
            modes[open_], modes[open_ + 1] = OWN, (OWN if mode == OWN or root else FREE)
            inside_root[open_] = inside_root[open_ + 1] = root
            open_ += 2
            continue
        if token == _ONE:
            out[n] = _CONSTANT if mode == OWN else _ONE
            constants += mode == OWN
            n += 1
            continue
        if mode == OWN:
            out[n], out[n + 1] = _MUL, _CONSTANT
            constants += 1
            n += 2
        out[n] = token
        n += 1
        arity = _ARITY[token] if token < _ARITY.shape[0] else 0
        for _a in range(arity):
            modes[open_] = OWN if _OPAQUE[token] else FREE
            inside_root[open_] = not _OPAQUE[token] and (root or token == _SQRT)
            open_ += 1
    return n if open_ == 0 and constants <= MAX_CONSTANTS else 0


def fit_forms(programs: Programs, lengths: Lengths, data: Scaled, seed: int) -> tuple[Programs, Lengths, Fits]:
    """Least-squares constants of programs of forms (P, L): the dressed programs, their lengths, and the fits.

    A program that is too long has length 0 and an infinite error. The random starts depend on ``seed`` and on
    the program, not on its place in the batch.
    """
    dressed, sizes = dress(programs, lengths)
    library = form_library(len(data.columns))
    counts = count_constants(dressed, sizes, library)
    shape = (len(programs), max(1, int(counts.max(initial=0))))
    fits = Fits(np.ones(shape), np.full(len(programs), np.inf), np.zeros(len(programs), np.int64))
    good = EXACT * float(data.target.var())
    _fit_all(dressed, sizes, counts, library.table, data.columns, data.target, fits, good, np.uint64(seed))
    return dressed, sizes, fits


@kernel(error_model="numpy")
def _fit_all(
    dressed: Programs,
    sizes: Lengths,
    counts: Lengths,
    table: TokenTable,
    columns: Floats,
    target: Floats,
    fits: Fits,
    good: float,
    seed: np.uint64,
) -> None:
    machine, points = make_machine(table, columns.shape[0]), Points(columns, target, target.shape[0])
    gradient = np.empty((MAX_CONSTANTS, BLOCK))
    waves = np.zeros(MAX_CONSTANTS, np.bool_)
    stream = np.zeros(1, np.uint64)
    for p in range(dressed.shape[0]):
        n = sizes[p]
        if n == 0:
            continue
        key = seed
        for i in range(n):
            key = (key ^ np.uint64(dressed[p, i])) * GOLDEN
            key ^= key >> np.uint64(29)
        stream[0] = key
        _mark_waves(dressed[p], n, waves)
        fits.mean_square[p], fits.evaluations[p] = _fit_one(
            dressed[p], n, counts[p], machine, points, fits.constants[p], gradient, waves, good, stream
        )


@kernel()
def _mark_waves(program: NDArray[np.int16], length: int, waves: NDArray[np.bool_]) -> None:
    """Which constants stand in the argument of a sine or a cosine."""
    _until, k = 0, 0  # the open arguments below which the innermost wave ends
    inside = 0
    for i in range(length):
        token = program[i]
        if token == _CONSTANT:
            waves[k] = inside > 0
            k += 1
        if inside > 0:
            arity = _ARITY[token] if token < _ARITY.shape[0] else 0
            inside += arity - 1
        elif token in (_SIN, _COS):
            inside = 1


@kernel(error_model="numpy")
def _fit_one(
    program: NDArray[np.int16],
    length: int,
    k: int,
    machine: Machine,
    points: Points,
    constants: Floats,
    gradient: Floats,
    waves: NDArray[np.bool_],
    good: float,
    stream: NDArray[np.uint64],
) -> tuple[float, int]:
    """Fit the constants (k,) of one dressed program; (mean squared error, passes over the data)."""
    starts = np.empty((WAVE_STARTS, k))
    best, trial = constants[:k].copy(), constants[:k].copy()
    free = np.ones(k, np.bool_)
    variance = points.target[: points.n].var()
    lowest, used = fit_one(program, length, machine, points, best, gradient[:k], free, ITERATIONS, good)
    glanced = np.empty(WAVE_STARTS)
    count = STARTS
    for i in range(k):
        if waves[i]:
            count = WAVE_STARTS
    # one factor on a product: LM has nothing left to find
    simple = k == 1
    for round_ in range(ROUNDS):
        if lowest <= good or simple or (round_ > 0 and not lowest < PROMISING * variance):
            break
        for s in range(count):
            _draw_start(starts[s], waves, stream)
            glanced[s], more = fit_one(program, length, machine, points, starts[s], gradient[:k], free, GLANCE, good)
            used += more
        for _ in range(FITTED):
            nearest = np.argmin(glanced[:count])
            if not glanced[nearest] < np.inf:
                break
            copy_row(starts[nearest], trial, k)
            error, more = fit_one(program, length, machine, points, trial, gradient[:k], free, ITERATIONS, good)
            glanced[nearest] = np.inf
            used += more
            if error < lowest:
                lowest = error
                copy_row(trial, best, k)
    copy_row(best, constants, k)
    return lowest, used


@kernel()
def _draw_start(constants: Floats, waves: NDArray[np.bool_], stream: NDArray[np.uint64]) -> None:
    """Constants of the order of 1 with random signs; factors of waves over all frequencies."""
    for i in range(constants.shape[0]):
        if waves[i]:
            size = LOWEST_WAVE * (HIGHEST_WAVE / LOWEST_WAVE) ** uniform_at(stream, 0)
        else:
            size = math.exp(0.7 * normal_at(stream, 0))
        constants[i] = size if uniform_at(stream, 0) < 0.5 else -size
