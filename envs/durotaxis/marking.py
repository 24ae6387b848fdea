"""Marks: above the critical size every node is to be kept or to be deleted, the latter by a deadline.

A node is unmarked, ``KEEP`` or ``TO_DELETE``. Marks compare its intensity with the average of the colony.
"""

import numpy as np
from numpy.typing import NDArray

from envs.durotaxis.layout import DELETE
from envs.durotaxis.rewards import (
    MARKING_BONUS,
    OVERDUE_COST,
    OVERDUE_LIMIT,
    UNMARKED_COST,
    clip,
    deletion_reward,
    growth_reward,
)
from envs.durotaxis.state import CRITICAL, KEEP, MARKING_PAID, TO_DELETE, UNMARKED, Colonies, Physics
from envs.kernel_cache import kernel

CROWDING = 10  # nodes above the critical number that force a decision on nodes near the average
PATIENCE = 10  # steps that a node may stay unmarked before it is forced


@kernel(allocates=False)
def next_mark(mark: int, intensity: float, average: float, margin: float, forced: bool) -> int:
    """The transition of one node's mark.

    >>> next_mark(UNMARKED, 9.0, 10.0, 0.05, False) == TO_DELETE, next_mark(UNMARKED, 10.01, 10.0, 0.05, False)
    (True, 0)
    >>> next_mark(UNMARKED, 9.99, 10.0, 0.05, True) == next_mark(TO_DELETE, 12.0, 10.0, 0.05, True) == TO_DELETE
    True
    """
    if mark == TO_DELETE or intensity < average - margin:
        return TO_DELETE
    if mark == KEEP or intensity > average + margin:
        return KEEP
    if forced:
        return TO_DELETE if intensity < average else KEEP
    return UNMARKED


@kernel(allocates=False, inline="always")
def update_marks(colonies: Colonies, b: int, physics: Physics) -> None:
    """Mark the nodes of a colony above its critical size; the deadline of a new TO_DELETE is ``mark_delay`` away."""
    n, critical = colonies.nodes[b], colonies.task[b, CRITICAL]
    if n <= critical:
        return
    average = 0.0
    for i in range(n):
        average += colonies.intensity[b, i]
    average /= n
    for i in range(n):
        forced = n > critical + CROWDING or colonies.step[b] - colonies.born[b, i] >= PATIENCE
        mark = next_mark(colonies.mark[b, i], colonies.intensity[b, i], average, physics.mark_margin, forced)
        if mark == TO_DELETE and colonies.mark[b, i] != TO_DELETE:
            colonies.deadline[b, i] = colonies.step[b] + physics.mark_delay
        colonies.mark[b, i] = mark


@kernel(allocates=False, inline="always")
def reward_of_deletions(colonies: Colonies, b: int, operations: NDArray[np.int64], mark_delay: int) -> float:
    """Sum over the nodes that are about to be deleted, within [-1, 1]."""
    total = 0.0
    for i in range(colonies.nodes[b]):
        if operations[i] == DELETE:
            total += deletion_reward(
                colonies.mark[b, i] == TO_DELETE, colonies.step[b], colonies.deadline[b, i], mark_delay
            )
    return clip(total, 1.0)


@kernel(allocates=False, inline="always")
def overdue_nodes(colonies: Colonies, b: int) -> int:
    """Nodes marked for deletion that are still there after their deadline."""
    late = 0
    for i in range(colonies.nodes[b]):
        late += colonies.mark[b, i] == TO_DELETE and colonies.step[b] > colonies.deadline[b, i]
    return late


@kernel(allocates=False, inline="always")
def state_machine_reward(colonies: Colonies, b: int, of_deletions: float) -> float:
    """The ``delete`` component after a step, within [-1, 1].

    Growth, plus a bonus the first time that marks are set, plus what the deletions earned, minus overdue
    nodes; above the critical size also minus unmarked ones.
    """
    n, critical = colonies.nodes[b], colonies.task[b, CRITICAL]
    unmarked = 0
    for i in range(n):
        unmarked += colonies.mark[b, i] == UNMARKED
    total = growth_reward(n, critical) + of_deletions
    total -= min(OVERDUE_COST * overdue_nodes(colonies, b), OVERDUE_LIMIT)
    if n > critical:
        total -= UNMARKED_COST * unmarked / critical
        if unmarked < n and colonies.sums[b, MARKING_PAID] == 0.0:
            colonies.sums[b, MARKING_PAID] = 1.0
            total += MARKING_BONUS * (n - unmarked) / n
    return clip(total, 1.0)
