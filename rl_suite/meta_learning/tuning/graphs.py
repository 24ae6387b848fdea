"""Spaces whose choices draw a graph: one name says which node reads which, others which operation each node is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

IDENTITIES = ("skip", "identity", "skip_connect", "none")  # operations that do not make a path longer


class Graph(NamedTuple):
    """How a space draws graphs."""

    wiring: int
    """Place of the name whose choices list, for each node, the node that it reads; 0 is the input."""
    nodes: tuple[int, ...]
    """Places of the names that choose each node's operation."""
    parents: NDArray[np.int64]
    """(choices of the wiring, nodes)."""
    longer: NDArray[np.bool_]
    """(operations,): whether one makes a path longer."""


def find_graph(choices: Mapping[str, Sequence[Any]], alike: Sequence[Sequence[int]]) -> Graph | None:
    """The graph that a space draws, if it does: one name's choices are lists of whole numbers, as many as there are
    names that share a list of choices, and each refers to the input (0) or to an earlier node (1, 2, ...).

    >>> find_graph({"link": [(0, 0), (0, 1)], "op1": ["gcn", "skip"], "op2": ["gcn", "skip"]}, [[1, 2]]).nodes
    (1, 2)
    """
    names = list(choices)
    for place, name in enumerate(names):
        for group in alike:
            if place not in group and all(_wires(value, len(group)) for value in choices[name]):
                longer = np.array([value not in IDENTITIES for value in choices[names[group[0]]]])
                return Graph(place, tuple(group), np.array([list(value) for value in choices[name]]), longer)
    return None


def _wires(value: Any, nodes: int) -> bool:
    whole = isinstance(value, list | tuple) and all(isinstance(p, int) and not isinstance(p, bool) for p in value)
    return whole and len(value) == nodes > 1 and all(0 <= parent <= node for node, parent in enumerate(value))


def describe_graphs(codes: NDArray[np.int64], graph: Graph) -> NDArray[np.float64]:
    """Which operation follows which, which stand last, and how long the paths are (n, width).

    These are the paths of White et al. 2021 (arXiv:1910.11858) cut into pairs, as in the first step of a
    Weisfeiler-Lehman kernel (Ru et al. 2021, arXiv:2006.07556): whole paths are too many to be met twice.
    """
    operations = codes[:, list(graph.nodes)]  # (n, nodes)
    parents = graph.parents[codes[:, graph.wiring]]  # (n, nodes)
    n, nodes = operations.shape
    kinds, rows = len(graph.longer), np.arange(n)
    follows = np.zeros((n, kinds + 1, kinds))  # the last row: after the input
    last, lengths = np.zeros((n, kinds)), np.zeros((n, nodes + 1))
    leaf = np.stack([(parents != node + 1).all(1) for node in range(nodes)], 1)
    depth = np.zeros((n, nodes + 1), np.int64)  # of the input, then of each node
    for node in range(nodes):
        before = parents[:, node]
        kind = np.where(before == 0, kinds, operations[rows, before - 1])
        follows[rows, kind, operations[:, node]] += 1
        last[rows, operations[:, node]] += leaf[:, node]
        depth[:, node + 1] = depth[rows, before] + graph.longer[operations[:, node]]
        lengths[rows, depth[:, node + 1]] += leaf[:, node]
    present = lengths > 0
    longest = nodes - present[:, ::-1].argmax(1)
    ends = np.eye(nodes + 1)[longest], np.eye(nodes + 1)[present.argmax(1)]
    return np.concatenate([follows.reshape(n, -1), last, lengths, *ends], 1)
