"""The moves of the dark rooms, compiled: one loop over the copies per step."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

N_ACTIONS = 5
MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1), (0, 0))  # (row, column) of next row, previous row, next column, ..., stay


def next_cells(size: int) -> Ints:
    """Where each of the five moves leads from each cell, (cells, 5); walls stop a move."""
    row, column = np.divmod(np.arange(size**2), size)
    targets = [np.clip(row + down, 0, size - 1) * size + np.clip(column + right, 0, size - 1) for down, right in MOVES]
    return np.stack(targets, axis=1)


def distance(a: Ints, b: Ints, size: int) -> Ints:
    """Number of moves between two cells (Manhattan)."""
    moves: Ints = np.abs(a // size - b // size) + np.abs(a % size - b % size)
    return moves


@njit(cache=True)
def _move(
    i: int, action: int, move_of: Ints, next_cell: Ints, cell: Ints, steps: Ints, last_visit: NDArray[np.int16]
) -> int:
    cell[i] = next_cell[cell[i], move_of[i, action]]
    steps[i] += 1
    last_visit[i, cell[i]] = min(steps[i] + 1, 32767)
    return int(cell[i])


@njit(cache=True)
def step_room(
    actions: Ints,
    move_of: Ints,
    next_cell: Ints,
    goal: Ints,
    reward_once: bool,
    cell: Ints,
    steps: Ints,
    collected: Ints,
    last_visit: NDArray[np.int16],
    rewards: NDArray[np.float64],
) -> int:
    """One step of every dark room; returns the first row whose action does not exist, or -1."""
    for i in range(len(actions)):
        if actions[i] < 0 or actions[i] >= N_ACTIONS:
            return i
    for i in range(len(actions)):
        here = _move(i, actions[i], move_of, next_cell, cell, steps, last_visit)
        rewarded = here == goal[i] and not (reward_once and collected[i] > 0)
        collected[i] += rewarded
        rewards[i] = rewarded
    return -1


@njit(cache=True)
def step_key_to_door(
    actions: Ints,
    move_of: Ints,
    next_cell: Ints,
    key: Ints,
    door: Ints,
    cell: Ints,
    steps: Ints,
    collected: Ints,
    last_visit: NDArray[np.int16],
    rewards: NDArray[np.float64],
) -> int:
    """One step of every Key-to-Door room; returns the first row whose action does not exist, or -1."""
    for i in range(len(actions)):
        if actions[i] < 0 or actions[i] >= N_ACTIONS:
            return i
    for i in range(len(actions)):
        here = _move(i, actions[i], move_of, next_cell, cell, steps, last_visit)
        rewarded = (collected[i] == 0 and here == key[i]) or (collected[i] == 1 and here == door[i])
        collected[i] += rewarded
        rewards[i] = rewarded
    return -1


@njit(cache=True)
def write_coordinates(rows: Ints, cells: Ints, size: int, out: Ints, column: int) -> None:
    """Write the (row, column) of ``cells[rows]`` into two columns of ``out`` (n, width)."""
    for i in range(len(rows)):
        number = cells[rows[i]]
        out[i, column] = number // size
        out[i, column + 1] = number % size
