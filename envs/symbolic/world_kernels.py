"""The inner loops of the symbolic regression world, over a batch of growing programs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.datasets import Bank
from envs.symbolic.fitting import Effort, fit_program
from envs.symbolic.grammar import Partials, Tables, append_token, clear_row, fill_mask, parent_and_sibling
from envs.symbolic.grammar_units import UnitStack, UnitTables, append_units, fill_unit_mask
from envs.symbolic.program import Machine, Points, mean_square
from envs.symbolic.tokens import CONSTANT

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

GOING_ON, WHOLE, ILLEGAL = 0, 1, 2
SOLVED = 1e-9  # share of the variance left unexplained below which a law counts as recovered


class Scores(NamedTuple):
    """What whole programs are worth."""

    constants: Floats  # (B, K) fitted values
    nrmse: Floats  # (B,)
    complexity: Ints  # (B,)
    recovered: Bools  # (B,)


@kernel(allocates=False)
def _first_wrong(actions: Ints, n: int) -> int:
    for b in range(actions.shape[0]):
        if actions[b] < 0 or actions[b] >= n:
            return b
    return -1


@kernel(allocates=False, forceinline=True)
def _look(tables: Tables, partials: Partials, b: int, slot: NDArray[np.int16]) -> None:
    """Write what the next token will be: parent and sibling + 1 (0: none), open arguments, tokens left."""
    parent, sibling = parent_and_sibling(tables, partials, b)
    slot[b, 0], slot[b, 1] = parent + 1, sibling + 1
    slot[b, 2], slot[b, 3] = partials.slots[b], tables.max_length - partials.length[b]


@kernel(allocates=False)
def advance(
    actions: Ints,
    tables: Tables,
    units: UnitTables | None,
    partials: Partials,
    stack: UnitStack | None,
    n_variables: Ints,
    task: Ints,
    masks: Bools,
    slot: NDArray[np.int16],
    outcome: Ints,
) -> int:
    """Append a token to every row and renew its mask and slot (B, 4); writes outcomes (B,).

    With ``units`` and their ``stack``, tokens follow the rules of units as well.

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
        if units is not None and stack is not None:  # numba leaves it out where they are None
            append_units(tables, units, partials, stack, b, task[b], actions[b])
        append_token(tables, partials, b, actions[b])
        _look(tables, partials, b, slot)
        if partials.slots[b] == 0:
            outcome[b] = WHOLE
            ended += 1
            masks[b] = False
        elif units is not None and stack is not None:
            fill_unit_mask(tables, units, partials, stack, b, task[b], n_variables[task[b]], masks[b])
        else:
            fill_mask(tables, partials, b, n_variables[task[b]], True, masks[b])
    return ended


@kernel(allocates=False)
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


@kernel(allocates=False)
def rewrite(
    written: Partials,
    tables: Tables,
    units: UnitTables | None,
    partials: Partials,
    stack: UnitStack | None,
    n_variables: Ints,
    task: Ints,
    first_masks: Bools,
    masks: Bools,
    slot: NDArray[np.int16],
) -> int:
    """Write the tokens of ``written`` again into empty ``partials``, with their masks and slots.

    Returns the first row with a token that was not allowed there; -1 if none.
    """
    tokens, lengths = written.tokens, written.length
    for b in range(tokens.shape[0]):
        for t in range(masks.shape[1]):
            masks[b, t] = first_masks[task[b], t]
        slot[b, 0], slot[b, 1], slot[b, 2], slot[b, 3] = 0, 0, 1, tokens.shape[1]
        for i in range(lengths[b]):
            token = tokens[b, i]
            if token < 0 or partials.slots[b] == 0 or not masks[b, token]:
                return b
            if units is not None and stack is not None:
                append_units(tables, units, partials, stack, b, task[b], token)
            append_token(tables, partials, b, token)
            _look(tables, partials, b, slot)
            if partials.slots[b] == 0:
                masks[b] = False
            elif units is not None and stack is not None:
                fill_unit_mask(tables, units, partials, stack, b, task[b], n_variables[task[b]], masks[b])
            else:
                fill_mask(tables, partials, b, n_variables[task[b]], True, masks[b])
    return -1


@kernel(error_model="numpy")
def score(
    outcome: Ints,
    partials: Partials,
    task: Ints,
    bank: Bank,
    machine: Machine,
    weights: Ints,
    effort: Effort,
    scratch: Floats,
    scores: Scores,
) -> None:
    """Fit and measure every whole program; the scores of the others stay as they are. ``weights`` (n,) of tokens."""
    stream = np.zeros(1, dtype=np.uint64)
    nrmse, complexity, recovered = scores.nrmse, scores.complexity, scores.recovered
    for b in range(outcome.shape[0]):
        if outcome[b] == GOING_ON:
            continue
        program, length, t = partials.tokens[b], partials.length[b], task[b]
        nrmse[b], recovered[b], complexity[b] = np.inf, False, 0
        k = 0
        for i in range(length):
            complexity[b] += weights[program[i]]
            if machine.opcode[program[i]] == CONSTANT:
                scores.constants[b, k] = 1.0
                k += 1
        if outcome[b] == ILLEGAL:
            continue
        stream[0] = np.uint64(0)  # the same restarts for every program
        points = Points(bank.columns[t], bank.target[t], bank.n_points[t])
        error, _ = fit_program(
            program, length, k, machine, points, scores.constants[b], scratch, effort, 1e-20 * bank.variance[t], stream
        )
        nrmse[b] = np.sqrt(error / bank.variance[t])
        if error < SOLVED * bank.variance[t]:
            test = Points(bank.test_columns[t], bank.test_target[t], bank.n_test_points[t])
            recovered[b] = test.n == 0 or (
                mean_square(program, length, machine, test, scores.constants[b]) < SOLVED * bank.variance[t]
            )


@kernel(error_model="numpy")
def closed_error(
    outcome: Ints, partials: Partials, task: Ints, bank: Bank, machine: Machine, filler: int, error: Floats
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
        points = Points(bank.columns[t], bank.target[t], bank.n_points[t])
        error[b] = np.sqrt(mean_square(program, whole, machine, points, ones) / bank.variance[t])
