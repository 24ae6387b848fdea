"""What nodes do in one step: some are deleted and the tree is repaired, the others may spawn, all may move.

Numba kernels for row b of a batch. Deletions come before births in the arrays, which is the same as
the other way round, because every spawning node survives and every reach is read before anything moves.
"""

import math

import numpy as np
from numpy.typing import NDArray

from envs.durotaxis.geometry import sort_slots
from envs.durotaxis.layout import DELETE, SPAWN, STAY
from envs.durotaxis.measured import MeasuredField
from envs.durotaxis.state import COS, LIMIT, SIN, START_NODES, UNMARKED, Colonies, Physics
from envs.durotaxis.substrate import Field, intensity_at
from envs.kernel_cache import kernel
from envs.streams import Streams, uniform_at

GONE = -2  # in ``parent`` of a node that was deleted in this step


@kernel(allocates=False)
def hill_reach(intensity: float, gamma: float, alpha: float, exponent: float) -> float:
    """How far a node spawns (px): gamma / (1 + (alpha / intensity)^exponent), the Hill equation.

    >>> hill_reach(10.0, 6.0, 5.0, 2.0)
    4.8
    """
    q = alpha / intensity
    return float(gamma / (1.0 + (q * q if exponent == 2.0 else q**exponent)))


@kernel(allocates=False)
def clutch_reach(intensity: float, gamma: float, optimum: float) -> float:
    """Reach with maximal traction at an intermediate stiffness: gamma * 2q / (1 + q^2), q = intensity / optimum.

    The shape of a motor-clutch: slipping on soft ground, stalling on hard ground (Isomursu et al. 2022).

    >>> clutch_reach(12.0, 6.0, 12.0), clutch_reach(6.0, 6.0, 12.0) == clutch_reach(24.0, 6.0, 12.0)
    (6.0, True)
    """
    q = intensity / optimum
    return gamma * 2.0 * q / (1.0 + q * q)


@kernel(allocates=False)
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


@kernel(allocates=False)
def point_in_disc(streams: Streams, b: int) -> tuple[float, float, float]:
    """A uniform point (u, v) of the unit disc without its centre, and u^2 + v^2, by rejection."""
    while True:
        u, v = 2.0 * uniform_at(streams, b) - 1.0, 2.0 * uniform_at(streams, b) - 1.0
        square = u * u + v * v
        if 0.0 < square < 1.0:
            return u, v, square


@kernel(allocates=False)
def unit_vector(streams: Streams, b: int) -> tuple[float, float]:
    """A uniform direction."""
    u, v, square = point_in_disc(streams, b)
    length = math.sqrt(square)
    return u / length, v / length


@kernel(allocates=False)
def normal_pair(streams: Streams, b: int) -> tuple[float, float]:
    """Two independent standard normal numbers (Marsaglia and Bray 1964: a polar method without trigonometry)."""
    u, v, square = point_in_disc(streams, b)
    factor = math.sqrt(-2.0 * math.log(square) / square)
    return u * factor, v * factor


@kernel(allocates=False, inline="always")
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


@kernel(allocates=False, inline="always")
def list_children(parent: NDArray[np.int16], n: int, first: NDArray[np.int64], following: NDArray[np.int64]) -> None:
    """Chain the children of every node: ``first[i]``, then ``following`` of that, and so on until -1."""
    for i in range(n):
        first[i] = -1
    for j in range(n - 1, -1, -1):
        if parent[j] >= 0:
            following[j], first[parent[j]] = first[parent[j]], j


@kernel(allocates=False)
def adopt(
    child: int, new: int, parent: NDArray[np.int16], first: NDArray[np.int64], following: NDArray[np.int64]
) -> None:
    """Hang a child on a new parent (-1: it becomes the root)."""
    parent[child] = new
    if new >= 0:
        following[child], first[new] = first[new], child


@kernel(allocates=False, inline="always")
def repair(
    x: NDArray[np.float64], y: NDArray[np.float64], parent: NDArray[np.int16], first: NDArray[np.int64],
    following: NDArray[np.int64], gone: int, neighbourly: bool, waiting: NDArray[np.int64], joined: NDArray[np.int64],
) -> None:  # fmt: skip
    """Take node ``gone`` out of the tree and join what hung on it, so that it stays one tree.

    The child nearest to the deleted node takes its place towards the root and, with tree repair, adopts the
    other children. With neighbour repair the parent and the children are joined by their shortest tree.
    ``waiting`` and ``joined`` are scratch, as long as there are nodes.
    """
    above, pivot, shortest = parent[gone], -1, math.inf
    parent[gone] = GONE  # it stays in the chain of its own parent, whose readers skip it
    child = first[gone]
    while child >= 0:
        if parent[child] == gone:
            distance = (x[child] - x[gone]) ** 2 + (y[child] - y[gone]) ** 2
            if distance < shortest:
                pivot, shortest = child, distance
        child = following[child]
    if pivot < 0:
        return
    n_waiting, child = 0, first[gone]
    while child >= 0:
        if parent[child] == gone and child != pivot:
            waiting[n_waiting] = child
            n_waiting += 1
        child = following[child]
    if not neighbourly or above < 0:
        adopt(pivot, above, parent, first, following)
    if not neighbourly:
        for k in range(n_waiting):
            adopt(waiting[k], pivot, parent, first, following)
        return
    if above < 0:
        joined[0] = pivot
    else:
        joined[0], waiting[n_waiting] = above, pivot
        n_waiting += 1
    for size in range(1, n_waiting + 1):
        best, partner, shortest = -1, -1, math.inf
        for k in range(n_waiting):
            for m in range(size):
                if waiting[k] >= 0:
                    distance = (x[waiting[k]] - x[joined[m]]) ** 2 + (y[waiting[k]] - y[joined[m]]) ** 2
                    if distance < shortest:
                        best, partner, shortest = k, joined[m], distance
        adopt(waiting[best], partner, parent, first, following)
        joined[size], waiting[best] = waiting[best], -1


@kernel(allocates=False, inline="always")
def delete_nodes(
    colonies: Colonies, b: int, operations: NDArray[np.int64], neighbourly: bool, kept: NDArray[np.int64],
    slot_of: NDArray[np.int64], spare: NDArray[np.int64],
) -> None:  # fmt: skip
    """Delete the nodes whose operation says so, youngest first, and close the gaps in the arrays.

    Writes the former slots of the survivors to ``kept``. ``slot_of`` (C,) and ``spare`` (2C,) are scratch.
    """
    n = colonies.nodes[b]
    x, y, parent, first, following = colonies.x[b], colonies.y[b], colonies.parent[b], kept, slot_of
    list_children(parent, n, first, following)
    for i in range(n - 1, -1, -1):
        if operations[i] == DELETE:
            repair(x, y, parent, first, following, i, neighbourly, spare[:n], spare[n:])
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


@kernel(allocates=False, inline="always")
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
    gamma, alpha, noise = physics.gamma, physics.alpha, physics.noise
    survivors, limit, step = colonies.nodes[b], int(colonies.task[b, LIMIT]), colonies.step[b]
    identity = int(colonies.task[b, START_NODES]) + colonies.births[b]
    child = survivors
    crowded = False
    for mother in range(survivors):
        old = kept[mother]
        if operations[old] != SPAWN:
            continue
        if child >= limit:
            crowded = True
            break
        if physics.per_node:
            gamma, alpha, noise, heading = controls[old, 0], controls[old, 1], controls[old, 2], controls[old, 3]
            to_x, to_y = math.cos(heading), math.sin(heading)
        else:
            u, v = unit_vector(streams, b)
            to_x, to_y = u * cos - v * sin, u * sin + v * cos
            heading = math.atan2(to_y, to_x) if physics.motility > 0.0 else 0.0
        if physics.motor_clutch:
            reach = clutch_reach(colonies.intensity[b, mother], gamma, physics.clutch_optimum)
        else:
            reach = hill_reach(colonies.intensity[b, mother], gamma, alpha, physics.hill_exponent)
        along, across = normal_pair(streams, b)
        x = colonies.x[b, mother] + reach * to_x + noise * (along * cos - across * sin)
        y = colonies.y[b, mother] + reach * to_y + noise * (along * sin + across * cos)
        x, y = fold_into_dish(x, y, physics.dish_radius)
        colonies.x[b, child], colonies.y[b, child] = x, y
        colonies.anchor_x[b, child], colonies.anchor_y[b, child] = x, y
        colonies.anchor_step[b, child] = colonies.born[b, child] = step
        colonies.heading[b, child] = heading
        colonies.identity[b, child] = identity
        colonies.mother[b, child] = colonies.identity[b, mother]
        colonies.parent[b, child] = mother
        colonies.mark[b, child], colonies.deadline[b, child] = UNMARKED, 0
        child, identity = child + 1, identity + 1
    colonies.births[b] += child - survivors
    colonies.nodes[b] = child
    return crowded


@kernel(allocates=False, inline="always")
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


@kernel(allocates=False, inline="always")
def wander(
    colonies: Colonies, b: int, physics: Physics, field: Field, measured: MeasuredField, streams: Streams
) -> None:
    """Every node walks ``motility`` px along its heading, which diffuses; headings last longer on stiff ground.

    Persistence that grows with stiffness drifts up a gradient without sensing it: durokinesis
    (Novikova et al. 2017). The angular variance per step is 2 / persistence.
    """
    for i in range(colonies.nodes[b]):
        stiffness = intensity_at(field, measured, colonies.x[b, i], colonies.y[b, i])
        variance = 2.0 / (physics.persistence_per_intensity * stiffness)
        colonies.heading[b, i] += math.sqrt(variance) * normal_pair(streams, b)[0]
        colonies.x[b, i] += physics.motility * math.cos(colonies.heading[b, i])
        colonies.y[b, i] += physics.motility * math.sin(colonies.heading[b, i])


@kernel(allocates=False, inline="always")
def fold_nodes(colonies: Colonies, b: int, radius: float) -> None:
    """Reflect all nodes at the wall of the dish."""
    for i in range(colonies.nodes[b]):
        colonies.x[b, i], colonies.y[b, i] = fold_into_dish(colonies.x[b, i], colonies.y[b, i], radius)


@kernel(allocates=False)
def allowed_operation(choice: int, n: int, limit: int, allow_stay: bool) -> bool:
    """Whether a node of a colony of n may do this; a forbidden choice is carried out as ``stay``."""
    if choice == SPAWN:
        return n < limit
    if choice == DELETE:
        return n > 1
    return allow_stay or choice != STAY
