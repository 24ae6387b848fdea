"""What nodes do in one step: some are deleted and the tree is repaired, the others may spawn, all may move.

Numba kernels for row b of a batch. Deletions come before births in the arrays, which is the same as
the other way round, because every spawning node survives and every reach is read before anything moves.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from envs.durotaxis.geometry import sort_slots
from envs.durotaxis.layout import DELETE, SPAWN, STAY
from envs.durotaxis.state import COS, LIMIT, SIN, START_NODES, UNMARKED, Colonies, Physics
from envs.streams import Streams, uniform_at

GONE = -2  # in ``parent`` of a node that was deleted in this step


@njit(cache=True)
def hill_reach(intensity: float, gamma: float, alpha: float, exponent: float) -> float:
    """How far a node spawns (px): gamma / (1 + (alpha / intensity)^exponent), the Hill equation.

    >>> hill_reach(10.0, 6.0, 5.0, 2.0)
    4.8
    """
    return float(gamma / (1.0 + (alpha / intensity) ** exponent))


@njit(cache=True)
def clutch_reach(intensity: float, gamma: float, optimum: float) -> float:
    """Reach with maximal traction at an intermediate stiffness: gamma * 2q / (1 + q^2), q = intensity / optimum.

    The shape of a motor-clutch: slipping on soft ground, stalling on hard ground (Isomursu et al. 2022).

    >>> clutch_reach(12.0, 6.0, 12.0), clutch_reach(6.0, 6.0, 12.0) == clutch_reach(24.0, 6.0, 12.0)
    (6.0, True)
    """
    q = intensity / optimum
    return gamma * 2.0 * q / (1.0 + q * q)


@njit(cache=True)
def fold_into_dish(x: float, y: float, radius: float) -> tuple[float, float]:
    """Reflect a point at the wall along its radius, as often as needed.

    >>> fold_into_dish(0.0, 12.0, 10.0)
    (0.0, 8.0)
    """
    r = math.sqrt(x * x + y * y)
    if r <= radius:
        return x, y
    phase = (r + radius) % (4.0 * radius)
    folded = phase - radius if phase < 2.0 * radius else 3.0 * radius - phase
    return x * folded / r, y * folded / r


@njit(cache=True)
def normal_pair(streams: Streams, b: int) -> tuple[float, float]:
    """Two independent standard normal numbers from two uniform ones (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log1p(-uniform_at(streams, b)))
    angle = 2.0 * math.pi * uniform_at(streams, b)
    return radius * math.cos(angle), radius * math.sin(angle)


@njit(cache=True)
def choose_rearmost(
    colonies: Colonies, b: int, ratio: float, cos: float, sin: float, operations: NDArray[np.int64],
    keys: NDArray[np.float64], order: NDArray[np.int64],
) -> None:  # fmt: skip
    """Mark the rearmost ``ratio`` of the nodes along (cos, sin) for deletion, the others for spawning.

    The number is rounded down; of equally advanced nodes the older goes first.
    """
    n = colonies.nodes[b]
    for i in range(n):
        keys[i] = colonies.x[b, i] * cos + colonies.y[b, i] * sin
        operations[i] = SPAWN
    sort_slots(keys, n, order)
    for i in range(int(ratio * n)):
        operations[order[i]] = DELETE


@njit(cache=True)
def repair(colonies: Colonies, b: int, gone: int, n: int, neighbourly: bool) -> None:
    """Take node ``gone`` out of the tree and join what hung on it, so that it stays one tree.

    The child nearest to the deleted node takes its place towards the root and, with tree repair, adopts the
    other children. With neighbour repair the parent and the children are joined by their shortest tree.
    """
    x, y, parent = colonies.x[b], colonies.y[b], colonies.parent[b]
    pivot, shortest = -1, math.inf
    for j in range(n):
        if parent[j] == gone:
            distance = (x[j] - x[gone]) ** 2 + (y[j] - y[gone]) ** 2
            if distance < shortest:
                pivot, shortest = j, distance
    above = parent[gone]
    parent[gone] = GONE
    if pivot < 0:
        return
    if not neighbourly:
        parent[pivot] = above
        for j in range(n):
            if parent[j] == gone:
                parent[j] = pivot
        return
    if above < 0:
        parent[pivot] = above
    joined = np.empty(n, dtype=np.int64)
    joined[0] = pivot if above < 0 else above
    size, waiting = 1, 0
    for j in range(n):
        waiting += parent[j] == gone
    for _ in range(waiting):
        best, partner, shortest = -1, -1, math.inf
        for j in range(n):
            if parent[j] == gone:
                for m in range(size):
                    distance = (x[j] - x[joined[m]]) ** 2 + (y[j] - y[joined[m]]) ** 2
                    if distance < shortest:
                        best, partner, shortest = j, joined[m], distance
        parent[best] = partner
        joined[size] = best
        size += 1


@njit(cache=True)
def delete_nodes(
    colonies: Colonies, b: int, operations: NDArray[np.int64], neighbourly: bool, kept: NDArray[np.int64],
    slot_of: NDArray[np.int64],
) -> None:  # fmt: skip
    """Delete the nodes whose operation says so, youngest first, and close the gaps in the arrays.

    Writes the former slots of the survivors to ``kept``.
    """
    n = colonies.nodes[b]
    for i in range(n - 1, -1, -1):
        if operations[i] == DELETE:
            repair(colonies, b, i, n, neighbourly)
    left = 0
    for i in range(n):
        if operations[i] != DELETE:
            kept[left], slot_of[i] = i, left
            left += 1
    for new in range(left):
        old = kept[new]
        above = colonies.parent[b, old]
        colonies.parent[b, new] = slot_of[above] if above >= 0 else -1
        if old != new:
            colonies.x[b, new] = colonies.x[b, old]
            colonies.y[b, new] = colonies.y[b, old]
            colonies.intensity[b, new] = colonies.intensity[b, old]
            colonies.heading[b, new] = colonies.heading[b, old]
            colonies.anchor_x[b, new] = colonies.anchor_x[b, old]
            colonies.anchor_y[b, new] = colonies.anchor_y[b, old]
            colonies.anchor_step[b, new] = colonies.anchor_step[b, old]
            colonies.born[b, new] = colonies.born[b, old]
            colonies.identity[b, new] = colonies.identity[b, old]
            colonies.mother[b, new] = colonies.mother[b, old]
            colonies.deadline[b, new] = colonies.deadline[b, old]
            colonies.mark[b, new] = colonies.mark[b, old]
    colonies.nodes[b] = left
    colonies.deaths[b] += n - left


@njit(cache=True)
def add_node(colonies: Colonies, b: int, mother: int, x: float, y: float, heading: float) -> None:
    """Append a newborn child of the node in slot ``mother``."""
    child = colonies.nodes[b]
    colonies.x[b, child] = x
    colonies.y[b, child] = y
    colonies.heading[b, child] = heading
    colonies.anchor_x[b, child] = x
    colonies.anchor_y[b, child] = y
    colonies.anchor_step[b, child] = colonies.step[b]
    colonies.born[b, child] = colonies.step[b]
    colonies.identity[b, child] = int(colonies.task[b, START_NODES]) + colonies.births[b]
    colonies.mother[b, child] = colonies.identity[b, mother]
    colonies.deadline[b, child] = 0
    colonies.parent[b, child] = mother
    colonies.mark[b, child] = UNMARKED
    colonies.births[b] += 1
    colonies.nodes[b] += 1


@njit(cache=True)
def spawn_nodes(
    colonies: Colonies, b: int, physics: Physics, operations: NDArray[np.int64], controls: NDArray[np.float64],
    kept: NDArray[np.int64], streams: Streams,
) -> bool:  # fmt: skip
    """Let the survivors whose operation says so spawn one child each; returns whether the limit stopped a birth.

    The child stands at the reach of its mother in direction theta, plus normal noise. Noise is drawn in the
    frame of the field, so that turning the field turns the whole trajectory. ``controls`` (C, 4) holds
    gamma, alpha, noise and theta per former slot; in delete_ratio mode theta is random and the rest is fixed.
    """
    cos, sin = colonies.task[b, COS], colonies.task[b, SIN]
    gamma, alpha, noise, theta = physics.gamma, physics.alpha, physics.noise, 0.0
    survivors, limit = colonies.nodes[b], int(colonies.task[b, LIMIT])
    for i in range(survivors):
        old = kept[i]
        if operations[old] != SPAWN:
            continue
        if colonies.nodes[b] >= limit:
            return True
        if physics.per_node:
            gamma, alpha, noise, theta = controls[old, 0], controls[old, 1], controls[old, 2], controls[old, 3]
        else:
            theta = 2.0 * math.pi * uniform_at(streams, b) + math.atan2(sin, cos)
        if physics.motor_clutch:
            reach = clutch_reach(colonies.intensity[b, i], gamma, physics.clutch_optimum)
        else:
            reach = hill_reach(colonies.intensity[b, i], gamma, alpha, physics.hill_exponent)
        along, across = normal_pair(streams, b)
        x = colonies.x[b, i] + reach * math.cos(theta) + noise * (along * cos - across * sin)
        y = colonies.y[b, i] + reach * math.sin(theta) + noise * (along * sin + across * cos)
        x, y = fold_into_dish(x, y, physics.dish_radius)
        add_node(colonies, b, i, x, y, theta)
    return False


@njit(cache=True)
def relax_springs(colonies: Colonies, b: int, stiffness: float, rest: float) -> None:
    """Junctions pull and push: each edge in turn loses a fraction of its strain, half at either end.

    The centroid stays where it is (action equals reaction). Edge after edge, so that hubs cannot overshoot.
    """
    x, y = colonies.x[b], colonies.y[b]
    for i in range(colonies.nodes[b]):
        j = colonies.parent[b, i]
        if j >= 0:
            dx, dy = x[j] - x[i], y[j] - y[i]
            length = math.sqrt(dx * dx + dy * dy)
            if length > 0.0:
                share = 0.5 * stiffness * (length - rest) / length
                x[i], y[i] = x[i] + share * dx, y[i] + share * dy
                x[j], y[j] = x[j] - share * dx, y[j] - share * dy


@njit(cache=True)
def wander(colonies: Colonies, b: int, speed: float, persistence_per_intensity: float, streams: Streams) -> None:
    """Every node walks ``speed`` px along its heading, which diffuses; headings last longer on stiff ground.

    Persistence that grows with stiffness drifts up a gradient without sensing it: durokinesis
    (Novikova et al. 2017). The angular variance per step is 2 / persistence.
    """
    for i in range(colonies.nodes[b]):
        variance = 2.0 / (persistence_per_intensity * colonies.intensity[b, i])
        colonies.heading[b, i] += math.sqrt(variance) * normal_pair(streams, b)[0]
        colonies.x[b, i] += speed * math.cos(colonies.heading[b, i])
        colonies.y[b, i] += speed * math.sin(colonies.heading[b, i])


@njit(cache=True)
def fold_nodes(colonies: Colonies, b: int, radius: float) -> None:
    """Reflect all nodes at the wall of the dish."""
    for i in range(colonies.nodes[b]):
        colonies.x[b, i], colonies.y[b, i] = fold_into_dish(colonies.x[b, i], colonies.y[b, i], radius)


@njit(cache=True)
def allowed_operation(choice: int, n: int, limit: int, allow_stay: bool) -> bool:
    """Whether a node of a colony of n may do this; a forbidden choice is carried out as ``stay``."""
    if choice == SPAWN:
        return n < limit
    if choice == DELETE:
        return n > 1
    return allow_stay or choice != STAY
