"""Reward components as pure functions, and why winning always returns more than failing.

The reward of a step is ``w_d * delete / horizon + w_s * distance + w_t * termination (+ shaping)``.

* ``delete`` lies in [-1, 1], is divided by the horizon and stops there: its sum stays in [-1, 1].
* ``distance`` is the difference of a potential in [-D, D] body lengths: its sum stays in [-2D, 2D] between any
  two episodes, whatever happens on the way.
* ``termination`` is 1 for reaching the goal, -1 for every failure and 0 at a time limit.

Hence w_t > 2 w_d + 2 w_s D puts every winning episode above every other one; ``Options`` refuses other weights.
"""

import math

from envs.kernel_cache import kernel

# Scales of the components inside ``delete``.
GROWTH, GROWTH_WIDTH = 0.5, 20.0  # reward, nodes
UNMARKED_COST = 0.5
MARKING_BONUS = 0.5
DELETION = 0.5  # of one node
OVERDUE_COST, OVERDUE_LIMIT = 0.5, 0.5
HOMEOSTATIC = (0.6, -0.2, -0.8)  # inside the band, outside but returning, outside and leaving
HOMEOSTATIC_BAND = 0.25  # of the critical number, below it


@kernel(allocates=False)
def clip(value: float, limit: float) -> float:
    """``value`` within [-limit, limit]."""
    return min(max(value, -limit), limit)


@kernel(allocates=False)
def growth_reward(nodes: int, critical: float) -> float:
    """Near the critical size: good from below, bad from above.

    >>> growth_reward(64, 64.0), growth_reward(44, 64.0) == -growth_reward(84, 64.0)
    (0.5, True)
    """
    size = GROWTH * math.exp(-((nodes - critical) ** 2) / (2.0 * GROWTH_WIDTH**2))
    return size if nodes <= critical else -size


@kernel(allocates=False)
def deletion_reward(to_delete: bool, step: int, deadline: int, mark_delay: int) -> float:
    """For deleting one node: good near the deadline of a node marked for deletion, bad for any other.

    The window around the deadline is 0.3 of the delay, at least one step.

    >>> deletion_reward(True, 7, 7, 2), deletion_reward(True, 9, 7, 2), deletion_reward(False, 7, 7, 2)
    (0.5, -0.5, -0.5)
    """
    window = max(1.0, float(round(0.3 * mark_delay)))
    late = step - deadline
    if to_delete and abs(late) <= window:
        spread = window / 1.5
        return DELETION * math.exp(-(late**2) / (2.0 * spread**2))
    return -DELETION


@kernel(allocates=False)
def homeostatic_reward(before: int, after: int, critical: float) -> float:
    """Keep the number of nodes within a quarter below the critical one.

    >>> homeostatic_reward(60, 60, 64.0), homeostatic_reward(90, 80, 64.0), homeostatic_reward(20, 10, 64.0)
    (0.6, -0.2, -0.8)
    """
    low = (1.0 - HOMEOSTATIC_BAND) * critical
    if low <= after <= critical:
        return HOMEOSTATIC[0]
    returning = after < before if after > critical else after > before
    return HOMEOSTATIC[1] if returning else HOMEOSTATIC[2]


@kernel(allocates=False)
def progress(intensity: float, start: float, rise: float) -> float:
    """Intensity gained at the centroid as a fraction of the gain from start to goal line, within [-1, 1].

    Zero on a field without a gradient.

    >>> progress(13.5, 10.0, 7.0), progress(20.0, 10.0, 7.0), progress(10.0, 10.0, 0.0)
    (0.5, 1.0, 0.0)
    """
    return clip((intensity - start) / rise, 1.0) if rise > 0.0 else 0.0


@kernel(allocates=False)
def distance_reward(before: float, after: float, goal: float, body_length: float) -> float:
    """Progress in units of (mean gradient between start and goal) x (body length).

    >>> distance_reward(0.25, 0.5, 140.0, 10.0)
    3.5
    """
    return (after - before) * goal / body_length


@kernel(allocates=False)
def shaping_reward(before: float, after: float, gamma: float, terminated: bool) -> float:
    """Potential-based shaping (Ng, Harada and Russell 1999); the potential of a final state is 0.

    >>> shaping_reward(0.5, 1.0, 0.5, False), shaping_reward(0.5, 1.0, 0.5, True)
    (0.0, -0.5)
    """
    return (0.0 if terminated else gamma * after) - before
