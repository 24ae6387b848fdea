"""The moves of the dark rooms, compiled: one loop over the copies per step."""

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel

Ints = NDArray[np.int64]
Trail = NDArray[np.int16]

N_ACTIONS = 5
TRAIL_LENGTH = 32  # cells that pictures show behind the agent; a power of 2
MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1), (0, 0))  # (row, column) of next row, previous row, next column, ..., stay


def next_cells(size: int) -> Ints:
    """Where each of the five moves leads from each cell, (cells, 5); walls stop a move."""
    row, column = np.divmod(np.arange(size**2), size)
    targets = [np.clip(row + down, 0, size - 1) * size + np.clip(column + right, 0, size - 1) for down, right in MOVES]
    return np.stack(targets, axis=1)


def coordinates(size: int) -> Ints:
    """Row and column of each cell, (cells, 2)."""
    return np.stack(np.divmod(np.arange(size**2), size), axis=1)


@kernel()
def _first_wrong(actions: Ints) -> int:
    """The first row whose action does not exist, or -1."""
    wrong = 0
    for action in actions:  # without an early exit, which would keep the loop from being vectorised
        wrong += (action < 0) | (action >= N_ACTIONS)
    if wrong:
        for i in range(len(actions)):
            if actions[i] < 0 or actions[i] >= N_ACTIONS:
                return i
    return -1


@kernel()
def _move_all(actions: Ints, move_of: Ints, next_cell: Ints, cell: Ints, steps: Ints, trail: Trail) -> None:
    for i in range(len(actions)):
        trail[steps[i] & (TRAIL_LENGTH - 1), i] = cell[i]
    for i in range(len(actions)):
        row = i if len(move_of) > 1 else 0  # one row serves all where the actions are not permuted
        cell[i] = next_cell[cell[i], move_of[row, actions[i]]]
    for i in range(len(actions)):
        steps[i] += 1


@kernel()
def step_room(
    actions: Ints,
    move_of: Ints,
    next_cell: Ints,
    goal: Ints,
    reward_once: bool,
    cell: Ints,
    steps: Ints,
    collected: Ints,
    trail: Trail,
    rewards: NDArray[np.float64],
) -> int:
    """One step of every dark room; returns the first row whose action does not exist (nothing moves then), or -1."""
    wrong = _first_wrong(actions)
    if wrong < 0:
        _move_all(actions, move_of, next_cell, cell, steps, trail)
        for i in range(len(actions)):
            rewarded = (cell[i] == goal[i]) & (not reward_once or collected[i] == 0)
            collected[i] += rewarded
            rewards[i] = rewarded
    return wrong


@kernel()
def step_key_to_door(
    actions: Ints,
    move_of: Ints,
    next_cell: Ints,
    key: Ints,
    door: Ints,
    cell: Ints,
    steps: Ints,
    collected: Ints,
    trail: Trail,
    rewards: NDArray[np.float64],
) -> int:
    """As :func:`step_room`, for Key-to-Door."""
    wrong = _first_wrong(actions)
    if wrong < 0:
        _move_all(actions, move_of, next_cell, cell, steps, trail)
        for i in range(len(actions)):
            here = cell[i]
            rewarded = ((collected[i] == 0) & (here == key[i])) | ((collected[i] == 1) & (here == door[i]))
            collected[i] += rewarded
            rewards[i] = rewarded
    return wrong
