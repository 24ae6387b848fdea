"""The inner loops of the symbolic regression world, over a batch of growing programs."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from envs.symbolic.datasets import Bank
from envs.symbolic.fitting import fit_program
from envs.symbolic.grammar import Partials, Tables, append_token, clear_row, fill_mask, parent_and_sibling
from envs.symbolic.grammar_units import UnitStack, UnitTables, append_units, fill_unit_mask
from envs.symbolic.program import mean_square

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

GOING_ON, WHOLE, ILLEGAL = 0, 1, 2
SOLVED = 1e-9  # share of the variance left unexplained below which a law counts as recovered


@njit(cache=True)
def _first_wrong(actions: Ints, n: int) -> int:
    for b in range(actions.shape[0]):
        if actions[b] < 0 or actions[b] >= n:
            return b
    return -1


@njit(cache=True, forceinline=True)
def _look(tables: Tables, partials: Partials, b: int, slot: NDArray[np.int16]) -> None:
    """Write what the next token will be: parent and sibling + 1 (0: none), open arguments, tokens left."""
    parent, sibling = parent_and_sibling(tables, partials, b)
    slot[b, 0], slot[b, 1] = parent + 1, sibling + 1
    slot[b, 2], slot[b, 3] = partials.slots[b], tables.max_length - partials.length[b]


@njit(cache=True)
def advance(
    actions: Ints,
    tables: Tables,
    partials: Partials,
    n_variables: Ints,
    task: Ints,
    masks: Bools,
    slot: NDArray[np.int16],
    outcome: Ints,
) -> int:
    """Append a token to every row and renew its mask and slot (B, 4); writes outcomes (B,).

    Returns how many rows ended, or -1 - b, and nothing is changed, if row b has an action that does not exist.
    """
    wrong = _first_wrong(actions, masks.shape[1])
    if wrong >= 0:
        return -1 - wrong
    ended = 0
    for b in range(actions.shape[0]):
        outcome[b] = GOING_ON
        if not masks[b, actions[b]]:
            outcome[b] = ILLEGAL
            ended += 1
            masks[b] = False
            continue
        append_token(tables, partials, b, actions[b])
        _look(tables, partials, b, slot)
        if partials.slots[b] == 0:
            outcome[b] = WHOLE
            ended += 1
            masks[b] = False
        else:
            fill_mask(tables, partials, b, n_variables[task[b]], True, masks[b])
    return ended


@njit(cache=True)
def advance_with_units(
    actions: Ints,
    tables: Tables,
    units: UnitTables,
    partials: Partials,
    stack: UnitStack,
    n_variables: Ints,
    task: Ints,
    masks: Bools,
    slot: NDArray[np.int16],
    outcome: Ints,
) -> int:
    """:func:`advance` under the rules of units."""
    wrong = _first_wrong(actions, masks.shape[1])
    if wrong >= 0:
        return -1 - wrong
    ended = 0
    for b in range(actions.shape[0]):
        outcome[b] = GOING_ON
        if not masks[b, actions[b]]:
            outcome[b] = ILLEGAL
            ended += 1
            masks[b] = False
            continue
        append_units(tables, units, partials, stack, b, task[b], actions[b])
        append_token(tables, partials, b, actions[b])
        _look(tables, partials, b, slot)
        if partials.slots[b] == 0:
            outcome[b] = WHOLE
            ended += 1
            masks[b] = False
        else:
            fill_unit_mask(tables, units, partials, stack, b, task[b], n_variables[task[b]], masks[b])
    return ended


@njit(cache=True)
def restart(
    rows: Ints, partials: Partials, task: Ints, first_masks: Bools, masks: Bools, slot: NDArray[np.int16]
) -> None:
    """Make the programs of ``rows`` empty; the first mask depends on the task alone."""
    for i in range(rows.shape[0]):
        b = rows[i]
        clear_row(partials, b)
        slot[b, 0], slot[b, 1], slot[b, 2], slot[b, 3] = 0, 0, 1, partials.tokens.shape[1]
        for t in range(masks.shape[1]):
            masks[b, t] = first_masks[task[b], t]


@njit(cache=True, error_model="numpy")
def score(
    outcome: Ints,
    partials: Partials,
    task: Ints,
    bank: Bank,
    opcode: Ints,
    index: Ints,
    constant_id: int,
    weights: Ints,
    restarts: int,
    max_iterations: int,
    workspace: Floats,
    scratch: Floats,
    constants: Floats,
    nrmse: Floats,
    complexity: Ints,
    recovered: Bools,
) -> None:
    """Fit and measure every whole program: constants (B, K), nrmse (B,), complexity (B,), recovered (B,)."""
    stream = np.zeros(1, dtype=np.uint64)
    for b in range(outcome.shape[0]):
        if outcome[b] == GOING_ON:
            continue
        program, length, t = partials.tokens[b], partials.length[b], task[b]
        nrmse[b], recovered[b], complexity[b] = np.inf, False, 0
        k = 0
        for i in range(length):
            complexity[b] += weights[program[i]]
            if program[i] == constant_id:
                constants[b, k] = 1.0
                k += 1
        if outcome[b] == ILLEGAL:
            continue
        stream[0] = np.uint64(0)  # the same restarts for every program
        error, _ = fit_program(
            program, length, k, opcode, index, bank.columns[t], bank.target[t], bank.n_points[t], constants[b],
            workspace, scratch, restarts, max_iterations, 1e-20 * bank.variance[t], stream,
        )  # fmt: skip
        nrmse[b] = np.sqrt(error / bank.variance[t])
        if error < SOLVED * bank.variance[t]:
            recovered[b] = bank.n_test_points[t] == 0 or (
                mean_square(
                    program, length, opcode, index, bank.test_columns[t], bank.test_target[t], bank.n_test_points[t],
                    constants[b], workspace,
                )
                < SOLVED * bank.variance[t]
            )  # fmt: skip


@njit(cache=True, error_model="numpy")
def closed_error(
    outcome: Ints,
    partials: Partials,
    task: Ints,
    bank: Bank,
    opcode: Ints,
    index: Ints,
    filler: int,
    workspace: Floats,
    error: Floats,
) -> None:
    """NRMSE (B,) of the unfinished programs as if the first variable stood in all open places, constants being 1."""
    program = np.empty(partials.tokens.shape[1], dtype=np.int16)
    ones = np.ones(partials.tokens.shape[1])
    for b in range(outcome.shape[0]):
        if outcome[b] != GOING_ON:
            continue
        t, length = task[b], partials.length[b]
        for i in range(length):
            program[i] = partials.tokens[b, i]
        whole = length + partials.slots[b]
        for i in range(length, whole):
            program[i] = filler
        mse = mean_square(
            program, whole, opcode, index, bank.columns[t], bank.target[t], bank.n_points[t], ones, workspace
        )
        error[b] = np.sqrt(mse / bank.variance[t])
