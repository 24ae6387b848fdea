"""Values of one program point by point: NaN where it is not finite, numbers everywhere else.

A search drops a program at its first non-finite value (``program.py``); a person who draws data from a
formula, or predicts with one, wants the other points.
"""

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.copying import copy_row
from envs.symbolic.program import checked_constants, checked_programs, input_columns, make_machine, run_program
from envs.symbolic.tokens import Library, Program, TokenTable

Floats = NDArray[np.float64]


def evaluate_pointwise(program: Program, X: Floats, library: Library, constants: Floats | None = None) -> Floats:
    """Values (n,) of a program (L,) with constants (k,) at X (n, d).

    >>> library = Library("koza", ["x"])
    >>> evaluate_pointwise(library.encode(["log", "x"]), np.array([[1.0], [-1.0]]), library)
    array([ 0., nan])
    """
    columns = input_columns(X, library)
    programs, lengths = checked_programs(program[None], np.array([len(program)]), library)
    given = None if constants is None else np.asarray(constants, dtype=np.float64)[None]
    values = checked_constants(programs, lengths, library, given)[0]
    out = np.empty(columns.shape[1])
    _kernel(programs[0], len(program), library.table, columns, values, out)
    return out


@kernel(error_model="numpy")
def _kernel(
    program: Program,
    length: int,
    table: TokenTable,
    columns: Floats,
    constants: Floats,
    out: Floats,
) -> None:
    machine = make_machine(table, columns.shape[0])
    for i in range(columns.shape[1]):
        copy_row(columns[:, i], machine.workspace[:, 0], columns.shape[0])
        row = run_program(program, length, machine, constants, 1)
        out[i] = machine.workspace[row, 0] if row >= 0 else np.nan
