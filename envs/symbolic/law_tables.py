"""Data of random laws: numbers, ranges, columns that do not matter, noise; one kernel for many forms."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.streams import Streams, integer_at, normal_at, uniform_at
from envs.symbolic.fitted_forms import MAX_CONSTANTS, dress
from envs.symbolic.form_programs import FIRST_VARIABLE, MAX_COLUMNS
from envs.symbolic.law_forms import form_library
from envs.symbolic.law_generator import MAX_TOKENS, FormBatch
from envs.symbolic.program import BLOCK, Machine, make_machine, run_program
from envs.symbolic.tokens import CONSTANT, PAD, TokenTable

Floats = NDArray[np.float64]

ROWS = 64  # of a table; at most BLOCK
ATTEMPTS = 24  # draws of numbers and ranges for one form
DUMMY_SHARES = (0.5, 0.75, 0.92)  # cumulative: no column that does not matter, one, two; else three
NOISY_SHARE = 0.2  # of the tables
NOISE_LEVELS = (-3.5, -1.0)  # decimal logarithm of the noise over the root mean square, uniform between
PLAIN = 0.45  # of the numbers are 1 ...
NUMBERS = np.array([2.0, 3.0, 4.0, 0.5, 0.25, 1.5, 5.0, np.pi, 2 * np.pi])
PLAIN_OR_NICE = 0.8  # ... and up to here one of these; the others are random
NEGATIVE = 0.4
SIGNED, UNIT = 0.1, 0.16  # cumulative: of the ranges are symmetric around 0; begin at 0
WILD = 60.0  # largest value over the root mean square of a target that is kept
LEAST_EFFECT = 1e-3  # of shuffling a column, over the target's deviation: below it the column does not matter


class Tables(NamedTuple):
    """N tables; columns beyond ``width`` are 0."""

    columns: Floats  # (N, MAX_COLUMNS, ROWS)
    target: Floats  # (N, ROWS)
    width: NDArray[np.int64]  # (N,) columns, 0 where no numbers made a usable table
    programs: NDArray[np.int16]  # (N, MAX_TOKENS) the law's form over these columns, not in normal order
    lengths: NDArray[np.int64]  # (N,)


def draw_tables(forms: FormBatch, streams: Streams, rows: int = ROWS) -> Tables:
    """One table for each form, one stream (N,) for each; columns in random order, dummies among them."""
    if not 8 <= rows <= BLOCK:
        raise ValueError(f"a table has 8 to {BLOCK} rows, not {rows}")
    n = len(forms.lengths)
    dressed, sizes = dress(forms.programs, forms.lengths)
    tables = Tables(
        np.zeros((n, MAX_COLUMNS, rows)),
        np.zeros((n, rows)),
        np.zeros(n, np.int64),
        np.full((n, MAX_TOKENS), PAD, np.int16),
        forms.lengths.copy(),
    )
    table = form_library(MAX_COLUMNS).table
    _draw_all(forms.programs, forms.lengths, forms.widths, dressed, sizes, table, streams, tables)
    return tables


@kernel(error_model="numpy")
def _draw_all(
    programs: NDArray[np.int16],
    lengths: NDArray[np.int64],
    widths: NDArray[np.int64],
    dressed: NDArray[np.int16],
    sizes: NDArray[np.int64],
    table: TokenTable,
    streams: Streams,
    tables: Tables,
) -> None:
    machine = make_machine(table, MAX_COLUMNS)
    constants = np.empty(MAX_CONSTANTS)
    value = np.empty(tables.target.shape[1])
    place = np.empty(MAX_COLUMNS, np.int64)
    for p in range(programs.shape[0]):
        if sizes[p] == 0:
            continue
        for _ in range(ATTEMPTS):
            if _draw_one(dressed[p], sizes[p], widths[p], machine, constants, value, streams, p):
                _store(programs[p], lengths[p], widths[p], machine, value, place, streams, p, tables)
                break


@kernel(error_model="numpy")
def _draw_one(
    dressed: NDArray[np.int16],
    size: int,
    width: int,
    machine: Machine,
    constants: Floats,
    value: Floats,
    streams: Streams,
    p: int,
) -> bool:
    """Numbers, ranges and the target (rows,) in ``value``; whether every column matters and the target is tame."""
    rows = value.shape[0]
    k = 0
    for i in range(size):
        if machine.opcode[dressed[i]] == CONSTANT:
            constants[k] = _number(streams, p)
            k += 1
    for c in range(width):
        _fill_column(machine.workspace[c], rows, streams, p)
    row = run_program(dressed, size, machine, constants, rows)
    if row < 0:
        return False
    mean = square = largest = 0.0
    for i in range(rows):
        value[i] = machine.workspace[row, i]
        mean += value[i] / rows
        square += value[i] * value[i] / rows
        largest = max(largest, abs(value[i]))
    deviation = np.sqrt(max(square - mean * mean, 0.0))
    if not (largest < 1e12 and largest <= WILD * np.sqrt(square) and deviation > 1e-4 * np.sqrt(square) + 1e-12):
        return False
    for c in range(width):
        first = machine.workspace[c, 0]
        for i in range(rows - 1):  # every row gets its neighbour's value
            machine.workspace[c, i] = machine.workspace[c, i + 1]
        last = machine.workspace[c, rows - 1]
        machine.workspace[c, rows - 1] = first
        row = run_program(dressed, size, machine, constants, rows)
        effect = 0.0
        if row >= 0:
            for i in range(rows):
                effect += (machine.workspace[row, i] - value[i]) ** 2 / rows
        for i in range(rows - 1, 0, -1):
            machine.workspace[c, i] = machine.workspace[c, i - 1]
        machine.workspace[c, 0] = first
        machine.workspace[c, rows - 1] = last if rows > 1 else first
        if row >= 0 and not np.sqrt(effect) > LEAST_EFFECT * deviation:
            return False
    return True


@kernel()
def _number(streams: Streams, p: int) -> float:
    u = uniform_at(streams, p)
    if u < PLAIN:
        size = 1.0
    elif u < PLAIN_OR_NICE:
        size = NUMBERS[integer_at(streams, p, NUMBERS.shape[0])]
    else:
        size = np.exp(0.8 * normal_at(streams, p))
    return size if uniform_at(streams, p) >= NEGATIVE else -size


@kernel()
def _fill_column(column: Floats, rows: int, streams: Streams, p: int) -> None:
    u = uniform_at(streams, p)
    low = np.exp(-1.2 + 2.4 * uniform_at(streams, p))
    high = low * (1.3 + 4.7 * uniform_at(streams, p))
    if u < SIGNED:
        low = -high
    elif u < UNIT:
        low = 0.0
    elif u < 0.5:  # as in many a table
        low, high = 1.0, (3.0 if u < 0.26 else 5.0)
    for i in range(rows):
        column[i] = low + (high - low) * uniform_at(streams, p)


@kernel()
def _store(
    program: NDArray[np.int16],
    length: int,
    width: int,
    machine: Machine,
    value: Floats,
    place: NDArray[np.int64],
    streams: Streams,
    p: int,
    tables: Tables,
) -> None:
    """The columns in random order with some that do not matter, the target with some noise, the form renamed."""
    rows = value.shape[0]
    u = uniform_at(streams, p)
    dummies = 0
    for share in DUMMY_SHARES:
        dummies += u >= share
    total = min(width + dummies, MAX_COLUMNS)
    for c in range(total):
        place[c] = c
    for c in range(total - 1, 0, -1):
        other = integer_at(streams, p, c + 1)
        place[c], place[other] = place[other], place[c]
    for c in range(total):
        if c < width:
            for i in range(rows):
                tables.columns[p, place[c], i] = machine.workspace[c, i]
        else:
            _fill_column(tables.columns[p, place[c]], rows, streams, p)
    level, square = 0.0, 0.0
    for i in range(rows):
        square += value[i] * value[i] / rows
    if uniform_at(streams, p) < NOISY_SHARE:
        low, high = NOISE_LEVELS
        level = 10.0 ** (low + (high - low) * uniform_at(streams, p)) * np.sqrt(square)
    for i in range(rows):
        tables.target[p, i] = value[i] + (level * normal_at(streams, p) if level > 0.0 else 0.0)
    for i in range(length):
        token = program[i]
        tables.programs[p, i] = token if token < FIRST_VARIABLE else FIRST_VARIABLE + place[token - FIRST_VARIABLE]
    tables.width[p] = total
