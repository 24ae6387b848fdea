"""One episode of one colony: how it starts, how a step unfolds, how it ends, what it earns.

Numba kernels over the rows of a batch. Every row reads only its own stream and its own arrays, so a
trajectory does not depend on the size of the batch.
"""

import math

import numpy as np
from numpy.typing import NDArray

from envs.durotaxis.dynamics import (
    allowed_operation,
    choose_rearmost,
    delete_nodes,
    fold_nodes,
    relax_springs,
    spawn_nodes,
    wander,
)
from envs.durotaxis.geometry import sort_slots, spanning_tree
from envs.durotaxis.layout import LENGTH_SCALE, STAY
from envs.durotaxis.marking import overdue_nodes, reward_of_deletions, state_machine_reward, update_marks
from envs.durotaxis.measured import MeasuredField
from envs.durotaxis.metrics import (
    CENTROID_X,
    CENTROID_Y,
    REWARD_DELETE,
    REWARD_DISTANCE,
    REWARD_SHAPING,
    REWARD_TERMINATION,
    STIFFNESS_CENTROID,
    field_of,
    measure,
)
from envs.durotaxis.rewards import distance_reward, homeostatic_reward, progress, shaping_reward
from envs.durotaxis.state import (
    AT_GOAL,
    COS,
    CRITICAL,
    GOAL,
    LIMIT,
    NO_NODES,
    OUT_OF_BOUNDS,
    POTENTIAL,
    RETREAT,
    RETREATED,
    RISE,
    RUNNING,
    SAFE,
    SIN,
    START_INTENSITY,
    START_NODES,
    TIME_IS_UP,
    TOO_MANY_NODES,
    UNMARKED,
    WEIGHT_DELETE,
    WEIGHT_DISTANCE,
    WEIGHT_TERMINATION,
    Colonies,
    Physics,
    Scratch,
)
from envs.kernel_cache import kernel
from envs.streams import Rows, Streams, uniform_at

RESETTLED = LENGTH_SCALE / 4.0  # px; a node that moved further than this has not stagnated


@kernel(allocates=False)
def start_rows(
    rows: Rows,
    colonies: Colonies,
    constants: NDArray[np.void],
    measured: MeasuredField,
    radii: NDArray[np.float64],
    streams: Streams,
    scratch: Scratch,
) -> None:
    """Scatter the first nodes of each row evenly over a disc of radius ``radii[b]``, centred on its centroid."""
    physics: Physics = constants[0]
    for b in rows:
        n, cos, sin = int(colonies.task[b, START_NODES]), colonies.task[b, COS], colonies.task[b, SIN]
        colonies.step[b] = colonies.births[b] = colonies.deaths[b] = 0
        colonies.nodes[b], colonies.ending[b] = n, RUNNING
        colonies.sums[b] = 0.0
        colonies.metrics[b] = 0.0
        colonies.trail[b] = 0.0
        x, y = colonies.x[b], colonies.y[b]
        mean_x, mean_y = 0.0, 0.0
        for i in range(n):
            radius = radii[b] * math.sqrt(uniform_at(streams, b))
            angle = 2.0 * math.pi * uniform_at(streams, b)
            u, v = radius * math.cos(angle), radius * math.sin(angle)
            x[i], y[i] = u * cos - v * sin, u * sin + v * cos
            mean_x, mean_y = mean_x + x[i] / n, mean_y + y[i] / n
            colonies.heading[b, i] = 2.0 * math.pi * uniform_at(streams, b) + math.atan2(sin, cos)
        for i in range(n):
            x[i], y[i] = x[i] - mean_x, y[i] - mean_y
            colonies.anchor_x[b, i], colonies.anchor_y[b, i] = x[i], y[i]
            colonies.anchor_step[b, i] = colonies.born[b, i] = colonies.deadline[b, i] = 0
            colonies.identity[b, i], colonies.mother[b, i] = i, -1
            colonies.mark[b, i] = UNMARKED
        spanning_tree(x, y, n, colonies.parent[b], scratch.reals)
        measure(colonies, b, physics, measured, scratch)


@kernel(allocates=False, inline="always")
def visible_slots(
    colonies: Colonies, b: int, max_nodes: int, order: NDArray[np.int64], slots: NDArray[np.int64]
) -> int:
    """Write the slots that the padded observation shows to ``slots``, oldest first; returns how many.

    A colony that outgrows the padding shows its softest and its stiffest nodes, half each.
    """
    n = int(colonies.nodes[b])
    shown = min(n, max_nodes)
    for i in range(shown):
        slots[i] = i
    if n > max_nodes:
        sort_slots(colonies.intensity[b], n, order)
        for i in range(max_nodes // 2):
            slots[i] = order[i]
        for i in range(max_nodes // 2, max_nodes):
            slots[i] = order[n - max_nodes + i]
        for i in range(1, max_nodes):  # back into the order of birth
            slot, j = slots[i], i
            while j > 0 and slots[j - 1] > slot:
                slots[j] = slots[j - 1]
                j -= 1
            slots[j] = slot
    return shown


@kernel(allocates=False)
def between(low: float, high: float, value: float) -> float:
    """Map a value in [-1, 1] to [low, high].

    >>> between(1.0, 5.0, 0.5)
    4.0
    """
    return low + 0.5 * (1.0 + value) * (high - low)


@kernel(allocates=False, inline="always")
def read_actions(
    colonies: Colonies, b: int, physics: Physics, action: NDArray[np.float32], operations: NDArray[np.int64],
    controls: NDArray[np.float64], order: NDArray[np.int64], slots: NDArray[np.int64],
) -> None:  # fmt: skip
    """Turn a per-node action into an operation per slot, and its controls (C, 4) in their own units."""
    n, limit = int(colonies.nodes[b]), int(colonies.task[b, LIMIT])
    for i in range(n):
        operations[i] = STAY
    for part in range(visible_slots(colonies, b, physics.max_nodes, order, slots)):
        slot, first = slots[part], 5 * part
        choice = int(action[first])
        operations[slot] = choice if allowed_operation(choice, n, limit, physics.allow_stay) else STAY
        controls[slot, 0] = between(physics.gamma_low, physics.gamma_high, action[first + 1])
        controls[slot, 1] = between(physics.alpha_low, physics.alpha_high, action[first + 2])
        controls[slot, 2] = between(physics.noise_low, physics.noise_high, action[first + 3])
        controls[slot, 3] = math.pi * action[first + 4]


@kernel(allocates=False, inline="always")
def how_it_ends(colonies: Colonies, b: int, physics: Physics, before_x: float, before_y: float, crowded: bool) -> int:
    """Whether and how the episode ends, from the last two centroids.

    A centroid that crosses the safe radius is judged where it crosses, so that a long last step gains nothing.
    An assay looks at the clock only: a rule that depends on where the colony went would end walks after runs of
    steps to one side, and blind walkers would seem to prefer that side.
    """
    if physics.assay_steps > 0:
        return TIME_IS_UP if colonies.step[b] >= physics.assay_steps else RUNNING
    if colonies.nodes[b] == 0:
        return NO_NODES
    if crowded:
        return TOO_MANY_NODES
    cos, sin, safe, goal = colonies.task[b, COS], colonies.task[b, SIN], colonies.task[b, SAFE], colonies.task[b, GOAL]
    x, y = colonies.metrics[b, CENTROID_X], colonies.metrics[b, CENTROID_Y]
    outside = x * x + y * y >= safe * safe
    if outside:
        dx, dy = x - before_x, y - before_y
        a, half_b, c = dx * dx + dy * dy, before_x * dx + before_y * dy, before_x**2 + before_y**2 - safe * safe
        crossing = (-half_b + math.sqrt(max(half_b * half_b - a * c, 0.0))) / a if a > 0.0 else 0.0
        x, y = before_x + crossing * dx, before_y + crossing * dy
    if x * cos + y * sin >= goal:
        return AT_GOAL
    if outside:
        return OUT_OF_BOUNDS
    return RETREATED if colonies.sums[b, RETREAT] >= physics.retreat_steps else RUNNING


@kernel(allocates=False, inline="always")
def pay(
    colonies: Colonies, b: int, physics: Physics, nodes_before: int, overdue_before: float, of_deletions: float
) -> float:
    """The reward of a step; its weighted components are left in the metrics."""
    task, metrics, sums = colonies.task[b], colonies.metrics[b], colonies.sums[b]
    n, ended = int(colonies.nodes[b]), colonies.ending[b] != RUNNING
    if physics.homeostatic:
        delete = homeostatic_reward(nodes_before, n, task[CRITICAL])
    else:
        delete = state_machine_reward(colonies, b, of_deletions)
    before = sums[POTENTIAL]
    if n > 0:
        intensity = metrics[STIFFNESS_CENTROID] / physics.kpa_per_intensity
        sums[POTENTIAL] = progress(intensity, task[START_INTENSITY], task[RISE])
    after = sums[POTENTIAL]
    overdue_after = overdue_nodes(colonies, b) / max(n, 1)
    metrics[REWARD_DELETE] = task[WEIGHT_DELETE] * delete / physics.horizon
    if colonies.step[b] > physics.horizon:
        metrics[REWARD_DELETE] = 0.0
    metrics[REWARD_DISTANCE] = task[WEIGHT_DISTANCE] * distance_reward(before, after, task[GOAL], physics.body_length)
    metrics[REWARD_TERMINATION] = 0.0
    if ended and colonies.ending[b] != TIME_IS_UP:
        metrics[REWARD_TERMINATION] = task[WEIGHT_TERMINATION] * (1.0 if colonies.ending[b] == AT_GOAL else -1.0)
    metrics[REWARD_SHAPING] = physics.shaping * shaping_reward(
        before - overdue_before, after - overdue_after, physics.shaping_gamma, ended
    )
    return float(
        metrics[REWARD_DELETE] + metrics[REWARD_DISTANCE] + metrics[REWARD_TERMINATION] + metrics[REWARD_SHAPING]
    )


@kernel(allocates=False)
def step_rows(
    colonies: Colonies, constants: NDArray[np.void], measured: MeasuredField, actions: NDArray[np.float32],
    streams: Streams, rewards: NDArray[np.float64], scratch: Scratch,
) -> None:  # fmt: skip
    """Advance every row by one step and write its reward; endings are left in ``colonies.ending``."""
    physics: Physics = constants[0]
    operations, controls, kept, slot_of = scratch.operations, scratch.controls, scratch.kept, scratch.slots
    order, keys = scratch.order, scratch.reals
    for b in range(len(actions)):
        colonies.step[b] += 1
        nodes_before = int(colonies.nodes[b])
        overdue_before = overdue_nodes(colonies, b) / max(nodes_before, 1)
        before_x, before_y = colonies.metrics[b, CENTROID_X], colonies.metrics[b, CENTROID_Y]
        if physics.per_node:
            read_actions(colonies, b, physics, actions[b], operations, controls, order, slot_of)
        else:
            ratio = between(0.0, physics.max_ratio, actions[b, 0])
            choose_rearmost(colonies, b, ratio, actions[b, 1], actions[b, 2], operations, keys, order)
        of_deletions = reward_of_deletions(colonies, b, operations, physics.mark_delay)
        delete_nodes(colonies, b, operations, physics.neighbour_repair, kept, slot_of, scratch.hull)
        crowded = spawn_nodes(colonies, b, physics, operations, controls, kept, streams)
        if physics.spring_stiffness > 0.0:
            relax_springs(colonies, b, physics.spring_stiffness, physics.spring_rest)
        if physics.motility > 0.0:
            fold_nodes(colonies, b, physics.dish_radius)  # springs may have pushed a node out of the field
            wander(colonies, b, physics, field_of(colonies, b), measured, streams)
        if physics.spring_stiffness > 0.0 or physics.motility > 0.0:
            fold_nodes(colonies, b, physics.dish_radius)
            notice_moves(colonies, b)
        measure(colonies, b, physics, measured, scratch)
        update_marks(colonies, b, physics)
        colonies.ending[b] = how_it_ends(colonies, b, physics, before_x, before_y, crowded)
        rewards[b] = pay(colonies, b, physics, nodes_before, overdue_before, of_deletions)


@kernel(allocates=False, inline="always")
def notice_moves(colonies: Colonies, b: int) -> None:
    """Restart the stagnation of every node that has moved away from where it was."""
    for i in range(colonies.nodes[b]):
        x, y = colonies.x[b, i], colonies.y[b, i]
        if (x - colonies.anchor_x[b, i]) ** 2 + (y - colonies.anchor_y[b, i]) ** 2 > RESETTLED * RESETTLED:
            colonies.anchor_x[b, i], colonies.anchor_y[b, i] = x, y
            colonies.anchor_step[b, i] = colonies.step[b]


@kernel(allocates=False)
def first_bad_action(actions: NDArray[np.float32], part_size: int, n_options: int) -> int:
    """The first row with an entry that is not finite, out of bounds or no choice; -1 if all is well.

    ``part_size`` entries make a part, the first of which is a choice among ``n_options`` (none if that is 0).
    """
    for b in range(actions.shape[0]):
        good = True
        for first in range(0, actions.shape[1], part_size):
            start = first
            if n_options > 0:
                choice = actions[b, first]
                good = good and 0.0 <= choice <= n_options - 1 and choice == math.floor(choice)
                start = first + 1
            for i in range(start, first + part_size):
                good = good and -1.0 <= actions[b, i] <= 1.0
        if not good:
            return b
    return -1
