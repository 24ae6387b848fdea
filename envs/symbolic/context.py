"""What a table says about its law before anything is searched: features of columns, pairs of columns, and the whole.

Least squares of several transformed targets (y, log|y|, y^2, 1/y, sqrt|y|) on four sets of terms: columns or
their logarithms, alone or with their squares and products. How well each fits, and its coefficients, tell
products of powers from sums, and name the columns that belong together. Columns are put into an order that
depends only on what they hold (most influential first), so names and order of the columns of a table have no
part in the result.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.copying import copy_row

Floats = NDArray[np.float64]
Features = NDArray[np.float32]

TARGETS = 6  # y, log|y|, y^2, 1/y, sqrt|y|, 1/y^2
DESIGNS = 4
COLUMN_FEATURES = 6 * TARGETS + 2 + 8 + 4
PAIR_FEATURES = 2 * TARGETS
TABLE_FEATURES = DESIGNS * TARGETS + 10
RIDGE = 1e-9  # of the standardised normal equations
ROOM = 0.6  # terms of a fit, at most this share of the rows; columns behind have no squares
EXACT = 1e-10  # share of the variance below which a fit counts as exact

LEAST_ROWS = 4  # of a table: fewer leave nothing to fit


class Context(NamedTuple):
    """Features of N tables in the order of their columns' influence."""

    table: Features  # (N, TABLE_FEATURES)
    column: Features  # (N, V, COLUMN_FEATURES), 0 behind the last column
    pair: Features  # (N, V, V, PAIR_FEATURES), symmetric
    width: NDArray[np.int64]  # (N,) columns
    order: NDArray[np.int64]  # (N, V) which column of the table stands at each place


def contexts(columns: Floats, target: Floats, width: NDArray[np.int64]) -> Context:
    """Features of N tables: columns (N, V, n), target (N, n), columns that each has (N,)."""
    n, v, rows = columns.shape
    if target.shape != (n, rows) or width.shape != (n,) or rows < LEAST_ROWS:
        raise ValueError(f"columns (N, V, n >= {LEAST_ROWS}) and target (N, n), not {columns.shape} and {target.shape}")
    context = Context(
        np.zeros((n, TABLE_FEATURES), np.float32),
        np.zeros((n, v, COLUMN_FEATURES), np.float32),
        np.zeros((n, v, v, PAIR_FEATURES), np.float32),
        width.astype(np.int64),
        np.tile(np.arange(v), (n, 1)),
    )
    _fill(np.ascontiguousarray(columns), np.ascontiguousarray(target), context)
    return context


class _Memory(NamedTuple):
    """Room that the fits of one table need."""

    raw: Floats  # (V, n) columns, standardised
    logs: Floats  # (V, n) their logarithms, standardised
    aims: Floats  # (TARGETS, n)
    deviation: Floats  # (TARGETS,) of the targets before they were standardised
    terms: Floats  # (p, n)
    equations: Floats  # (2 p, p)
    weights: Floats  # (TARGETS, p)
    spread: Floats  # (2, V) of the columns and their logarithms


class _Row(NamedTuple):
    """The features of one table."""

    table: Features
    column: Features
    pair: Features
    order: NDArray[np.int64]


@kernel(error_model="numpy")
def _fill(columns: Floats, target: Floats, context: Context) -> None:
    n, v, rows = columns.shape
    most = 1 + 2 * v + v * (v - 1) // 2
    memory = _Memory(
        np.empty((v, rows)),
        np.empty((v, rows)),
        np.empty((TARGETS, rows)),
        np.empty(TARGETS),
        np.empty((most, rows)),
        np.empty((2 * most, most)),
        np.empty((TARGETS, most)),
        np.empty((2, v)),
    )
    for t in range(n):
        if context.width[t] > 0:
            out = _Row(context.table[t], context.column[t], context.pair[t], context.order[t])
            _one(columns[t], target[t], context.width[t], memory, out)


@kernel(error_model="numpy")
def _one(columns: Floats, target: Floats, d: int, memory: _Memory, out: _Row) -> None:
    """Features of one table of d columns."""
    rows = target.shape[0]
    _targets(target, memory.aims, memory.deviation, out.table)
    for c in range(d):
        _standard_column(columns[c], rows, memory.raw[c], memory.logs[c], memory.spread, c)
    influence = np.zeros(d)  # of each column alone, in raw and logarithmic units
    for design in range(2):
        _fit(design, d, rows, memory, out)
        for c in range(d):
            for k in range(2):
                influence[c] += memory.weights[k, 1 + c] ** 2
    copy_row(np.argsort(-influence), out.order, d)
    for design in range(2):  # again in this order, so that weights stand where they belong
        _fit(design, d, rows, memory, out)
        for place in range(d):
            for k in range(TARGETS):
                out.column[place, design * TARGETS + k] = _soft(memory.weights[k, 1 + place])
    _write_slopes(d, memory, out, 6 * TARGETS)
    for design in range(2, 4):
        p = _fit(design, d, rows, memory, out)
        _write_quadratic(design, d, rows, memory.weights, out)
        _left_over(d, rows, p, design, memory, out)
    _write_slopes(d, memory, out, 6 * TARGETS + 1)
    for place in range(d):
        _describe(columns[out.order[place]], target, rows, out.column[place], 6 * TARGETS + 2)


@kernel(allocates=False, error_model="numpy")
def _fit(design: int, d: int, rows: int, memory: _Memory, out: _Row) -> int:
    """Least squares of all targets on the terms of a design; how many terms."""
    source = memory.raw if design % 2 == 0 else memory.logs
    p = _terms(design, source, out.order, d, rows, memory.terms)
    _solve(memory, p, rows, out.table, design)
    return p


@kernel(allocates=False, error_model="numpy")
def _write_slopes(d: int, memory: _Memory, out: _Row, at: int) -> None:
    """Slopes of log|y| over the logarithm of each column: the exponents of a product of powers."""
    for place in range(d):
        slope = memory.weights[1, 1 + place] * memory.deviation[1] / memory.spread[1, out.order[place]]
        out.column[place, at] = _soft(slope)


@kernel(allocates=False, error_model="numpy")
def _write_quadratic(design: int, d: int, rows: int, weights: Floats, out: _Row) -> None:
    """Coefficients of columns, squares and products."""
    bent = _bent_columns(d, rows)
    base = (2 * design - 2) * TARGETS
    for place in range(d):
        for k in range(TARGETS):
            out.column[place, base + k] = _soft(weights[k, 1 + place])
            if place < bent:
                out.column[place, base + TARGETS + k] = _soft(weights[k, 1 + d + place])
    at = 1 + d + bent
    for i in range(bent):
        for j in range(i):
            for k in range(TARGETS):
                value = _soft(weights[k, at])
                out.pair[i, j, (design - 2) * TARGETS + k] = value
                out.pair[j, i, (design - 2) * TARGETS + k] = value
            at += 1


@kernel(allocates=False, error_model="numpy")
def _soft(value: float) -> float:
    """Linear around 0, logarithmic far away."""
    return math.asinh(value) if abs(value) < 1e6 else (14.5 if value > 0 else -14.5)


@kernel(allocates=False, error_model="numpy")
def _targets(target: Floats, aims: Floats, deviation: Floats, table: Features) -> None:
    rows = target.shape[0]
    square, mean = 0.0, 0.0
    positive = 0
    for i in range(rows):
        square += target[i] * target[i] / rows
        mean += target[i] / rows
        positive += target[i] > 0
    size = math.sqrt(square) if square > 0 else 1.0
    smallest, largest = np.inf, 0.0
    for i in range(rows):
        y = target[i] / size
        a = abs(y)
        smallest, largest = min(smallest, a), max(largest, a)
        safe = max(a, 1e-6)
        sign = 1.0 if y >= 0 else -1.0
        aims[0, i], aims[1, i], aims[2, i] = y, math.log(safe), y * y
        aims[3, i], aims[4, i], aims[5, i] = sign / safe, sign * math.sqrt(a), 1.0 / (safe * safe)
    skew = tail = 0.0
    for k in range(TARGETS):
        centre = 0.0
        for i in range(rows):
            centre += aims[k, i] / rows
        total = 0.0
        for i in range(rows):
            aims[k, i] -= centre
            total += aims[k, i] * aims[k, i] / rows
        deviation[k] = math.sqrt(total)
        if not deviation[k] > 1e-12:
            deviation[k] = 1e-12
        for i in range(rows):
            aims[k, i] /= deviation[k]
    for i in range(rows):
        skew += aims[0, i] ** 3 / rows
        tail += aims[0, i] ** 4 / rows
    g = DESIGNS * TARGETS
    table[g] = positive / rows
    table[g + 1] = 1.0 if positive == rows or positive == 0 else 0.0
    table[g + 2] = mean / size
    table[g + 3] = _soft(skew)
    table[g + 4] = math.log(1.0 + tail)
    table[g + 5] = math.log(largest / max(smallest, 1e-6)) / 4
    table[g + 6] = deviation[0]
    table[g + 7] = _soft(deviation[1])
    table[g + 8] = rows / 100.0


@kernel(allocates=False, error_model="numpy")
def _standard_column(x: Floats, rows: int, raw: Floats, logs: Floats, spread: Floats, c: int) -> None:
    smallest, square = np.inf, 0.0
    for i in range(rows):
        smallest = min(smallest, x[i])
        square += x[i] * x[i] / rows
    size = math.sqrt(square) if square > 0 else 1.0
    for i in range(rows):
        raw[i] = x[i] / size
        logs[i] = math.log(max(raw[i], 1e-6)) if smallest >= 0 else math.asinh(3.0 * raw[i])
    for s in range(2):
        values = raw if s == 0 else logs
        mean, total = 0.0, 0.0
        for i in range(rows):
            mean += values[i] / rows
        for i in range(rows):
            values[i] -= mean
            total += values[i] * values[i] / rows
        spread[s, c] = math.sqrt(total) if total > 1e-24 else 1.0
        for i in range(rows):
            values[i] /= spread[s, c]


@kernel(allocates=False)
def _bent_columns(d: int, rows: int) -> int:
    """How many of the most influential columns have squares and products."""
    bent = d
    while bent > 0 and 1 + d + bent * (bent + 1) // 2 > ROOM * rows:
        bent -= 1
    return bent


@kernel(allocates=False, error_model="numpy")
def _terms(design: int, source: Floats, order: NDArray[np.int64], d: int, rows: int, terms: Floats) -> int:
    """Fill terms (p, rows): 1, the columns and, for the later designs, their squares and products; returns p."""
    for i in range(rows):
        terms[0, i] = 1.0
    for c in range(d):
        for i in range(rows):
            terms[1 + c, i] = source[order[c], i]
    p = 1 + d
    if design >= 2:
        bent = _bent_columns(d, rows)
        for c in range(bent):
            for i in range(rows):
                terms[p, i] = terms[1 + c, i] * terms[1 + c, i] - 1.0
            p += 1
        for a in range(bent):
            for b in range(a):
                for i in range(rows):
                    terms[p, i] = terms[1 + a, i] * terms[1 + b, i]
                p += 1
    return p


@kernel(allocates=False, error_model="numpy", fastmath={"contract", "reassoc"})
def _solve(memory: _Memory, p: int, rows: int, table: Features, design: int) -> None:
    """Least squares of all targets on p terms; writes weights (TARGETS, p) and how much is left of each target."""
    terms, aims, weights = memory.terms, memory.aims, memory.weights
    gram, factor = memory.equations[:p, :p], memory.equations[p : 2 * p, :p]
    for a in range(p):
        for b in range(a + 1):
            s = 0.0
            for i in range(rows):
                s += terms[a, i] * terms[b, i]
            gram[a, b] = s / rows
    for a in range(p):
        for b in range(a + 1):
            s = gram[a, b]
            if a == b:
                s += RIDGE * (1.0 + s)
            for j in range(b):
                s -= factor[a, j] * factor[b, j]
            if a == b:
                factor[a, a] = math.sqrt(s) if s > 1e-14 else 1e-7
            else:
                factor[a, b] = s / factor[b, b]
    for k in range(TARGETS):
        w = weights[k]
        for a in range(p):
            s = 0.0
            for i in range(rows):
                s += terms[a, i] * aims[k, i]
            s /= rows
            for j in range(a):
                s -= factor[a, j] * w[j]
            w[a] = s / factor[a, a]
        for a in range(p - 1, -1, -1):
            s = w[a]
            for j in range(a + 1, p):
                s -= factor[j, a] * w[j]
            w[a] = s / factor[a, a]
        left = 0.0
        for i in range(rows):
            r = aims[k, i]
            for a in range(p):
                r -= w[a] * terms[a, i]
            left += r * r / rows
        table[design * TARGETS + k] = -math.log10(left + EXACT) / 5.0


@kernel(error_model="numpy")
def _left_over(d: int, rows: int, p: int, design: int, memory: _Memory, out: _Row) -> None:
    """How what the quadratic leaves of y and log|y| goes with the cube of each column."""
    terms, aims, weights = memory.terms, memory.aims, memory.weights
    source = memory.raw if design == 2 else memory.logs
    at = 6 * TARGETS + 10 + 2 * (design - 2)
    for k in range(2):
        left = np.empty(rows)
        size = 0.0
        for i in range(rows):
            r = aims[k, i]
            for a in range(p):
                r -= weights[k, a] * terms[a, i]
            left[i] = r
            size += r * r
        size = math.sqrt(size / rows) + 1e-9
        for place in range(d):
            s = 0.0
            for i in range(rows):
                u = source[out.order[place], i]
                s += left[i] * (u * u * u - 3.0 * u) / rows
            out.column[place, at + k] = s / size


@kernel(error_model="numpy")
def _describe(x: Floats, target: Floats, rows: int, out: Features, at: int) -> None:
    """The column itself, and how it goes with y where it is split at its middle."""
    smallest, largest, mean, square = np.inf, -np.inf, 0.0, 0.0
    for i in range(rows):
        smallest, largest = min(smallest, x[i]), max(largest, x[i])
        mean += x[i] / rows
        square += x[i] * x[i] / rows
    size = math.sqrt(square) if square > 0 else 1.0
    out[at] = 1.0 if smallest > 0 else 0.0
    out[at + 1] = 1.0 if smallest < 0 else 0.0
    out[at + 2] = mean / size
    out[at + 3] = math.log(largest / smallest) if smallest > 1e-3 * size else 4.0
    total = y_square = 0.0
    for i in range(rows):
        total += target[i] / rows
        y_square += target[i] * target[i] / rows
    y_size = math.sqrt(y_square) if y_square > 0 else 1.0
    thirds = np.zeros(4)
    counts = np.zeros(4)
    width = (largest - smallest) / 4 if largest > smallest else 1.0
    for i in range(rows):
        q = min(3, int((x[i] - smallest) / width))
        thirds[q] += target[i] / y_size
        counts[q] += 1
    for q in range(4):
        out[at + 4 + q] = thirds[q] / counts[q] if counts[q] > 0 else total / y_size
