"""Writes the observation of ``layout.py``: one numba kernel per batch, straight into the returned arrays."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.durotaxis.dynamics import allowed_operation
from envs.durotaxis.episode import visible_slots
from envs.durotaxis.layout import (
    AGE_SCALE,
    CONTRAST_SCALE,
    DEGREE_SCALE,
    EDGE_FEATURES,
    GRAPH_FEATURES,
    INTENSITY_SCALE,
    LENGTH_SCALE,
    NODE_FEATURES,
    OPERATIONS,
    STAGNATION_SCALE,
    STAY,
)
from envs.durotaxis.metrics import AREA, CENTROID_X, CENTROID_Y
from envs.durotaxis.state import CRITICAL, DIRECTION, LIMIT, SAFE, Colonies, Physics, Scratch
from envs.kernel_cache import kernel
from envs.streams import FACTOR_1, FACTOR_2, INCREMENT, Rows, draw_at, normal_at

N_OPERATIONS = len(OPERATIONS)


class Observations(NamedTuple):
    """The arrays of ``layout.observation_space`` for n rows."""

    x: NDArray[np.float32]
    edge_index: NDArray[np.int16]
    edge_attr: NDArray[np.float32]
    graph: NDArray[np.float32]
    num_nodes: NDArray[np.int16]
    num_edges: NDArray[np.int16]
    node_mask: NDArray[np.int8]
    action_mask: NDArray[np.int8]  # no columns in delete_ratio mode


def blank_observations(n: int, max_nodes: int, max_edges: int, per_node: bool) -> Observations:
    """New arrays of zeros for n rows."""
    return Observations(
        x=np.zeros((n, max_nodes, len(NODE_FEATURES)), np.float32),
        edge_index=np.zeros((n, 2, max_edges), np.int16),
        edge_attr=np.zeros((n, max_edges, len(EDGE_FEATURES)), np.float32),
        graph=np.zeros((n, len(GRAPH_FEATURES)), np.float32),
        num_nodes=np.zeros((n, 1), np.int16),
        num_edges=np.zeros((n, 1), np.int16),
        node_mask=np.zeros((n, max_nodes), np.int8),
        action_mask=np.zeros((n, max_nodes * N_OPERATIONS if per_node else 0), np.int8),
    )


@kernel(allocates=False, inline="always")
def write_edges(
    colonies: Colonies, b: int, physics: Physics, out: Observations, k: int, of: NDArray[np.int64],
    incoming: NDArray[np.int64], outgoing: NDArray[np.int64],
) -> int:  # fmt: skip
    """Write the edges between shown nodes; counts all degrees and returns the number of all edges.

    ``of`` gives the row of ``x`` that shows a slot, -1 for hidden ones.
    """
    n, x, y = int(colonies.nodes[b]), colonies.x[b], colonies.y[b]
    index, attributes = out.edge_index[k], out.edge_attr[k]
    for i in range(n):
        incoming[i] = outgoing[i] = 0
    edges, written = 0, 0
    for i in range(n):
        for m in range(max(physics.neighbours, 1)):
            source = int(colonies.nearest[b, i, m]) if physics.neighbours > 0 else int(colonies.parent[b, i])
            if source < 0:
                break
            edges += 1
            incoming[i] += 1
            outgoing[source] += 1
            if of[i] >= 0 and of[source] >= 0:
                dx, dy = x[i] - x[source], y[i] - y[source]
                length = math.sqrt(dx * dx + dy * dy)
                index[0, written], index[1, written] = of[source], of[i]
                attributes[written, 0] = length / LENGTH_SCALE
                if length > 0.0:
                    attributes[written, 1], attributes[written, 2] = dx / length, dy / length
                written += 1
    out.num_edges[k, 0] = written
    return edges


@kernel(allocates=False, inline="always")
def feel(colonies: Colonies, b: int, noise: float, felt: NDArray[np.float64], word: NDArray[np.uint64]) -> None:
    """What the nodes feel of the intensity under them, with an independent error for every node and step.

    The error is drawn from episode, step, node and place instead of a stream, so that looking twice shows the same
    and no state is needed. ``word`` (1,) is scratch.
    """
    n = int(colonies.nodes[b])
    for i in range(n):
        felt[i] = colonies.intensity[b, i]
    if noise > 0.0:
        episode = colonies.task[b].view(np.uint64)[DIRECTION]
        x, y = colonies.x[b].view(np.uint64), colonies.y[b].view(np.uint64)
        moment = np.uint64(colonies.step[b] + 1) * INCREMENT
        for i in range(n):
            word[0] = (episode ^ moment) * FACTOR_1 + x[i] * FACTOR_2 + y[i] + np.uint64(colonies.identity[b, i])
            word[0] = draw_at(word, 0)  # neighbouring words are not neighbouring errors
            felt[i] += noise * normal_at(word, 0)


@kernel(allocates=False, inline="always")
def write_nodes(
    colonies: Colonies, b: int, out: Observations, k: int, slots: NDArray[np.int64], shown: int,
    felt: NDArray[np.float64], mean: float, incoming: NDArray[np.int64], outgoing: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write ``NODE_FEATURES`` of the shown slots; ``mean`` is the mean of what all nodes feel."""
    centroid_x, centroid_y, step = colonies.metrics[b, CENTROID_X], colonies.metrics[b, CENTROID_Y], colonies.step[b]
    for r in range(shown):
        i = slots[r]
        node = out.x[k, r]
        x, y = colonies.x[b, i] - centroid_x, colonies.y[b, i] - centroid_y
        node[0], node[1] = x / LENGTH_SCALE, y / LENGTH_SCALE
        node[2] = (felt[i] - mean) / CONTRAST_SCALE
        node[3], node[4] = incoming[i] / DEGREE_SCALE, outgoing[i] / DEGREE_SCALE
        distance = colonies.mean_distance[b, i]
        node[5] = LENGTH_SCALE / distance if distance > 0.0 else 0.0
        node[6] = math.sqrt(x * x + y * y) / LENGTH_SCALE
        node[7] = colonies.on_hull[b, i]
        node[8] = 1.0 if colonies.born[b, i] == step and step > 0 else 0.0
        node[9] = (step - colonies.born[b, i]) / AGE_SCALE
        node[10] = (step - colonies.anchor_step[b, i]) / STAGNATION_SCALE
        out.node_mask[k, r] = 1
    out.num_nodes[k, 0] = shown


@kernel(allocates=False, inline="always")
def write_graph(
    colonies: Colonies, b: int, physics: Physics, graph: NDArray[np.float32], edges: int, total: float, highest: float,
    max_degree: float,
) -> None:  # fmt: skip
    """Write ``GRAPH_FEATURES``; ``total`` and ``highest`` are the sum and the maximum of what is felt."""
    n, critical, safe = int(colonies.nodes[b]), colonies.task[b, CRITICAL], colonies.task[b, SAFE]
    x, y = colonies.x[b], colonies.y[b]
    low_x, high_x, low_y, high_y = x[0], x[0], y[0], y[0]
    for i in range(1, n):
        low_x, high_x, low_y, high_y = min(low_x, x[i]), max(high_x, x[i]), min(low_y, y[i]), max(high_y, y[i])
    low_x, high_x, low_y, high_y = low_x / safe, high_x / safe, low_y / safe, high_y / safe
    graph[0] = n / critical
    graph[1] = edges / critical
    graph[2] = 10.0 * edges / (n * (n - 1)) if n > 1 else 0.0
    graph[3] = colonies.metrics[b, CENTROID_X] / safe
    graph[4] = colonies.metrics[b, CENTROID_Y] / safe
    graph[5], graph[6], graph[7], graph[8] = low_x, low_y, high_x, high_y
    graph[9], graph[10] = high_x - low_x, high_y - low_y
    graph[11] = (high_x - low_x) * (high_y - low_y)
    graph[12] = colonies.metrics[b, AREA] / (physics.um_per_px * safe) ** 2
    graph[13] = 2.0 * edges / n / DEGREE_SCALE
    graph[14] = max_degree / DEGREE_SCALE
    graph[15] = 2.0 * edges / DEGREE_SCALE / critical
    graph[16] = total / n / INTENSITY_SCALE
    graph[17] = highest / INTENSITY_SCALE
    graph[18] = total / INTENSITY_SCALE / critical


@kernel(allocates=False, inline="always")
def write_action_mask(colonies: Colonies, b: int, physics: Physics, mask: NDArray[np.int8], shown: int) -> None:
    """Allowed operations of each part; padding may only stay, so that no choice is without an option."""
    n, limit = int(colonies.nodes[b]), int(colonies.task[b, LIMIT])
    for choice in range(N_OPERATIONS):
        allowed = allowed_operation(choice, n, limit, physics.allow_stay)
        for part in range(shown):
            mask[part * N_OPERATIONS + choice] = allowed
    for part in range(shown, physics.max_nodes):
        mask[part * N_OPERATIONS + STAY] = 1


@kernel(allocates=False)
def write_observations(
    rows: Rows, colonies: Colonies, constants: NDArray[np.void], out: Observations, scratch: Scratch
) -> None:
    """Write the observation of each of ``rows`` to the blank arrays ``out``."""
    physics: Physics = constants[0]
    order, slots, of, felt, word = scratch.order, scratch.slots, scratch.kept, scratch.reals, scratch.word
    incoming, outgoing = scratch.incoming, scratch.outgoing
    for k in range(len(rows)):
        b = rows[k]
        n = int(colonies.nodes[b])
        shown = visible_slots(colonies, b, physics.max_nodes, order, slots)
        if out.action_mask.shape[1] > 0:
            write_action_mask(colonies, b, physics, out.action_mask[k], shown)
        if n == 0:
            continue
        for i in range(n):
            of[i] = -1
        for r in range(shown):
            of[slots[r]] = r
        edges = write_edges(colonies, b, physics, out, k, of, incoming, outgoing)
        feel(colonies, b, physics.sensing_noise, felt, word)
        total, highest, degree = 0.0, felt[0], 0
        for i in range(n):
            total += felt[i]
            highest = max(highest, felt[i])
            degree = max(degree, incoming[i] + outgoing[i])
        write_nodes(colonies, b, out, k, slots, shown, felt, total / n, incoming, outgoing)
        write_graph(colonies, b, physics, out.graph[k], edges, total, highest, degree)
