"""Evaluation of many programs at once: a numba stack machine over blocks of points.

A prefix program is read from its last token to its first, so that arguments are there when an operation
is met. The stack holds row numbers of a workspace, not values: variables and literals are rows that are
never copied, and a result goes to a row that is not one of its arguments, which keeps the loops free of
aliasing and lets LLVM make vector code of them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.operations import apply_operation
from envs.symbolic.tokens import CONSTANT, LAST_BINARY, LITERAL, MAX_LENGTH, MAX_STACK, VARIABLE, Library, TokenTable

BLOCK = 128  # points evaluated together: all rows of a block stay in the first-level cache
LARGEST = np.finfo(np.float64).max

Floats = NDArray[np.float64]


class Machine(NamedTuple):
    """The stack machine of one library: what tokens mean, and the rows that it computes in; :func:`make_machine`."""

    opcode: NDArray[np.int64]  # (n,)
    column: NDArray[np.int64]  # (n,) of a variable's values, -1 for other tokens
    n_variables: int
    workspace: Floats  # (rows, BLOCK)


class Points(NamedTuple):
    """What programs are measured on; rows behind the first ``n`` are padding."""

    columns: Floats  # (d, N) inputs
    target: Floats  # (N,)
    n: int


def evaluate_programs(
    programs: NDArray[np.int16],
    lengths: NDArray[np.int64],
    X: Floats,
    library: Library,
    constants: Floats | None = None,
) -> Floats:
    """Values of P programs at n points, (P, n); a row is NaN if any step of its program is not finite there.

    Args:
        programs: (P, L) token ids in prefix order, padded at the end.
        lengths: (P,) tokens of each program.
        X: (n, d) finite inputs, one column per variable.
        library: what the ids mean.
        constants: (P, k) values of the fitted constants in prefix order; 1 where not given.

    Raises:
        ValueError: shapes that do not fit, unknown ids, programs that are not whole or too deep.

    >>> library = Library("koza", ["x"])
    >>> programs = library.encode(["add", "x", "mul", "x", "x"])[None]
    >>> evaluate_programs(programs, np.array([5]), np.array([[1.0], [2.0]]), library)
    array([[2., 6.]])
    """
    columns = input_columns(X, library)
    programs, lengths = checked_programs(programs, lengths, library)
    constants = checked_constants(programs, lengths, library, constants)
    out = np.empty((len(programs), columns.shape[1]))
    evaluate_kernel(programs, lengths, library.table, columns, constants, out)
    return out


def input_columns(X: Floats, library: Library) -> Floats:
    """X (n, d) as contiguous finite columns (d, n), as the kernels take them."""
    X = real("X", X)
    if X.ndim != 2 or X.shape[1] != library.n_variables or len(X) == 0:
        raise ValueError(f"X must have shape (n, {library.n_variables}) with n >= 1, not {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError("X holds NaN or infinite values")
    return np.ascontiguousarray(X.T)


def checked_programs(
    programs: NDArray[np.int16], lengths: NDArray[np.int64], library: Library
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """The batch as contiguous arrays of the right types, or ValueError naming the first bad row."""
    programs, lengths = _whole("programs", programs, np.int16), _whole("lengths", lengths, np.int64)
    if programs.ndim != 2 or lengths.shape != (len(programs),) or programs.shape[1] > MAX_LENGTH:
        raise ValueError(
            f"programs must be (P, L <= {MAX_LENGTH}) and lengths (P,), not {programs.shape} and {lengths.shape}"
        )
    bad = first_malformed(programs, lengths, library.arity)
    if bad >= 0:
        raise ValueError(f"row {bad} is not one whole expression of this library of at most {MAX_STACK} levels")
    return programs, lengths


def _whole(name: str, values: Any, dtype: type[np.signedinteger[Any]]) -> NDArray[Any]:
    """Whole numbers in another type, none of them changed by it."""
    array, limits = np.asarray(values), np.iinfo(dtype)
    if array.size and (array.dtype.kind not in "iu" or array.min() < limits.min or array.max() > limits.max):
        raise ValueError(f"{name} must be whole numbers of {dtype.__name__}, not {array.dtype} of shape {array.shape}")
    return np.ascontiguousarray(array, dtype=dtype)


def real(name: str, values: Any) -> Floats:
    """Numbers in double precision; ValueError for what holds none, or complex ones."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be real numbers, not {array.dtype} of shape {array.shape}")
    return np.ascontiguousarray(array, dtype=np.float64)


def checked_constants(
    programs: NDArray[np.int16], lengths: NDArray[np.int64], library: Library, constants: Floats | None
) -> Floats:
    """Constants (P, k) with k large enough for every program."""
    needed = int(count_constants(programs, lengths, library).max(initial=0))
    if constants is None:
        return np.ones((len(programs), needed))
    constants = real("constants", constants)
    if constants.ndim != 2 or len(constants) != len(programs) or constants.shape[1] < needed:
        raise ValueError(f"constants must be ({len(programs)}, >= {needed}), not {constants.shape}")
    return constants


def count_constants(programs: NDArray[np.int16], lengths: NDArray[np.int64], library: Library) -> NDArray[np.int64]:
    """Fitted constants in each program, (P,)."""
    inside = np.arange(programs.shape[1]) < lengths[:, None]
    return np.asarray(((programs == library.constant_id) & inside).sum(1), dtype=np.int64)


@kernel()
def first_malformed(programs: NDArray[np.int16], lengths: NDArray[np.int64], arity: NDArray[np.int64]) -> int:
    """First row that is not one whole prefix expression or needs a deeper stack than MAX_STACK; -1 if none."""
    for p in range(programs.shape[0]):
        held = 0
        if lengths[p] < 1 or lengths[p] > programs.shape[1]:
            return p
        for i in range(lengths[p] - 1, -1, -1):
            token = programs[p, i]
            if token < 0 or token >= arity.shape[0] or held < arity[token]:
                return p
            held += 1 - arity[token]
            if held > MAX_STACK:
                return p
        if held != 1:
            return p
    return -1


@kernel(error_model="numpy")
def evaluate_kernel(
    programs: NDArray[np.int16],
    lengths: NDArray[np.int64],
    table: TokenTable,
    columns: Floats,
    constants: Floats,
    out: Floats,
) -> None:
    """:func:`evaluate_programs` without checks: columns (d, n), constants (P, k), out (P, n)."""
    n = columns.shape[1]
    machine = make_machine(table, columns.shape[0])
    for first in range(0, n, BLOCK):
        m = min(BLOCK, n - first)
        load_block(machine, columns, first, m)
        for p in range(programs.shape[0]):
            if first == 0 or out[p, 0] == out[p, 0]:
                row = run_program(programs[p], lengths[p], machine, constants[p], m)
                if row >= 0:
                    for i in range(m):
                        out[p, first + i] = machine.workspace[row, i]
                else:
                    for i in range(n):
                        out[p, i] = np.nan


@kernel()
def make_machine(table: TokenTable, n_variables: int) -> Machine:
    """Rows: variables, one per token id (literals filled in), two result rows and one constant row per level."""
    n_tokens = table.opcode.shape[0]
    workspace = np.zeros((n_variables + n_tokens + 3 * MAX_STACK, BLOCK))
    for t in range(n_tokens):
        if table.opcode[t] == LITERAL:
            for i in range(BLOCK):
                workspace[n_variables + t, i] = table.value[t]
    return Machine(table.opcode, table.column, n_variables, workspace)


@kernel(forceinline=True)
def load_block(machine: Machine, columns: Floats, first: int, m: int) -> None:
    """Put points first .. first + m - 1 of the input columns (d, n) into the workspace."""
    for d in range(columns.shape[0]):  # a loop: numba compiles slice assignment far more slowly
        for i in range(m):
            machine.workspace[d, i] = columns[d, first + i]


@kernel(error_model="numpy", forceinline=True)
def run_program(program: NDArray[np.int16], length: int, machine: Machine, constants: Floats, m: int) -> int:
    """Run one program on the first m points of the workspace; the row of the result, -1 if not finite."""
    opcode, workspace = machine.opcode, machine.workspace
    stack = np.empty(MAX_STACK, dtype=np.int64)
    base = machine.n_variables + opcode.shape[0]
    level = 0
    k = 0
    for i in range(length):
        k += opcode[program[i]] == CONSTANT
    for i in range(length - 1, -1, -1):
        token = program[i]
        op = opcode[token]
        if op == VARIABLE:
            stack[level] = machine.column[token]
            level += 1
            continue
        if op == LITERAL:
            stack[level] = machine.n_variables + token
            level += 1
            continue
        if op == CONSTANT:
            k -= 1
            row = base + 3 * level + 2
            for j in range(m):
                workspace[row, j] = constants[k]
            stack[level] = row
            level += 1
            continue
        left = right = stack[level - 1]
        if op <= LAST_BINARY:  # the first argument was read last: it lies on top
            level -= 1
            right = stack[level - 1]
        row = base + 3 * (level - 1)
        row += right == row
        if not apply_operation(op, workspace, left, right, row, m):
            return -1
        stack[level - 1] = row
    return int(stack[0])


@kernel(error_model="numpy")
def mean_square_kernel(
    programs: NDArray[np.int16],
    lengths: NDArray[np.int64],
    table: TokenTable,
    columns: Floats,
    target: Floats,
    constants: Floats,
    out: Floats,
) -> None:
    """Mean squared error against target (n,) of every program, out (P,); inf where a step is not finite."""
    machine = make_machine(table, columns.shape[0])
    points = Points(columns, target, target.shape[0])
    for p in range(programs.shape[0]):
        out[p] = mean_square(programs[p], lengths[p], machine, points, constants[p])


@kernel(error_model="numpy")
def mean_square(program: NDArray[np.int16], length: int, machine: Machine, points: Points, constants: Floats) -> float:
    """Mean squared error of one program; inf if a step is not finite."""
    total = 0.0
    for first in range(0, points.n, BLOCK):
        m = min(BLOCK, points.n - first)
        load_block(machine, points.columns, first, m)
        row = run_program(program, length, machine, constants, m)
        if row < 0:
            return np.inf
        for i in range(m):
            total += (machine.workspace[row, i] - points.target[first + i]) ** 2
    return total / points.n if total <= LARGEST else np.inf
