"""What an agent sees and does in ``rl_suite/Durotaxis-v0``: names, order and units of every number.

Every feature is scaled to be of order 1 on the shipped fields, so that a network can read it as it is.
``observation_space`` is a flat ``Dict`` of padded arrays; node i of ``x`` is part i of a per-node action.

| key | shape | dtype | holds |
|---|---|---|---|
| ``x`` | (max_nodes, 11) | float32 | ``NODE_FEATURES`` of each node; zeros beyond ``num_nodes`` |
| ``edge_index`` | (2, max_edges) | int16 | source and target as rows of ``x``; zeros beyond ``num_edges`` |
| ``edge_attr`` | (max_edges, 3) | float32 | ``EDGE_FEATURES`` of each edge; zeros beyond ``num_edges`` |
| ``graph`` | (19,) | float32 | ``GRAPH_FEATURES`` |
| ``num_nodes`` | (1,) | int16 | rows of ``x`` in use |
| ``num_edges`` | (1,) | int16 | columns of ``edge_index`` in use |
| ``node_mask`` | (max_nodes,) | int8 | 1 = a node, 0 = padding |
| ``action_mask`` | (max_nodes * 3,) | int8 | ``per_node`` only: 1 = allowed, ``OPERATIONS`` of node after node |

The gradient itself is in none of them: an agent has to infer its direction from where nodes are and how
stiff the ground is there. The order of the nodes is that of their birth and says nothing of direction.
"""

from typing import Any

import numpy as np
from gymnasium import spaces

from envs.spaces import HybridBox

LENGTH_SCALE = 20.0  # px; positions and distances within the colony
CONTRAST_SCALE = 1.0  # intensity units; differences of intensity within the colony
INTENSITY_SCALE = 10.0  # intensity units; absolute intensities
DEGREE_SCALE = 4.0  # edges
AGE_SCALE = 100.0  # steps
STAGNATION_SCALE = 50.0  # steps

NODE_FEATURES = (
    "x",  # position minus centroid / LENGTH_SCALE
    "y",  # the same
    "intensity",  # intensity here minus the mean over all nodes / CONTRAST_SCALE
    "in_degree",  # / DEGREE_SCALE
    "out_degree",  # / DEGREE_SCALE
    "centrality",  # LENGTH_SCALE / mean distance to the other nodes; 0 for a lonely node
    "centroid_distance",  # / LENGTH_SCALE
    "on_hull",  # 1 on the convex hull, else 0
    "is_new",  # 1 if it was born in the last step, else 0
    "age",  # steps since birth / AGE_SCALE
    "stagnation",  # steps since it last moved by a quarter of LENGTH_SCALE / STAGNATION_SCALE
)

EDGE_FEATURES = (
    "length",  # / LENGTH_SCALE
    "dx",  # unit vector from source to target
    "dy",
)

# R is the safe radius of the dish (px), Nc the critical number of nodes of the present curriculum stage.
# Positions are measured from the centre of the dish, where every episode starts.
GRAPH_FEATURES = (
    "num_nodes",  # / Nc
    "num_edges",  # / Nc
    "density",  # edges / possible edges, times 10
    "centroid_x",  # / R
    "centroid_y",  # / R
    "box_min_x",  # / R
    "box_min_y",  # / R
    "box_max_x",  # / R
    "box_max_y",  # / R
    "box_width",  # / R
    "box_height",  # / R
    "box_area",  # / R^2
    "hull_area",  # / R^2
    "mean_degree",  # in plus out / DEGREE_SCALE
    "max_degree",  # the same
    "sum_degree",  # the same / Nc
    "mean_intensity",  # / INTENSITY_SCALE
    "max_intensity",  # / INTENSITY_SCALE
    "sum_intensity",  # / INTENSITY_SCALE / Nc
)

OPERATIONS = ("spawn", "delete", "stay")  # the choice of each node in a per-node action
SPAWN, DELETE, STAY = range(3)
CONTROLS = ("gamma", "alpha", "noise", "theta")  # its four values in [-1, 1], mapped to the ranges in the options
RATIO_CONTROLS = ("ratio", "cos", "sin")  # a delete_ratio action, each in [-1, 1]; ratio = (1 + a) / 2 * max_ratio


def observation_space(max_nodes: int, max_edges: int, per_node: bool) -> spaces.Dict:
    """The space of one environment's observations, as in the table above."""

    def real(*shape: int) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, shape, np.float32)

    def whole(high: int, *shape: int) -> spaces.Box:
        return spaces.Box(0, high, shape, np.int16)

    parts: dict[str, spaces.Space[Any]] = {
        "x": real(max_nodes, len(NODE_FEATURES)),
        "edge_index": whole(max_nodes - 1, 2, max_edges),
        "edge_attr": real(max_edges, len(EDGE_FEATURES)),
        "graph": real(len(GRAPH_FEATURES)),
        "num_nodes": whole(max_nodes, 1),
        "num_edges": whole(max_edges, 1),
        "node_mask": spaces.MultiBinary(max_nodes),
    }
    if per_node:
        parts["action_mask"] = spaces.MultiBinary(max_nodes * len(OPERATIONS))
    return spaces.Dict(parts)


def action_space(max_nodes: int, per_node: bool) -> spaces.Box:
    """One hybrid part per row of ``x``, or the three numbers of ``RATIO_CONTROLS``."""
    if per_node:
        return HybridBox(nvec=[len(OPERATIONS)], n_continuous=len(CONTROLS), n_parts=max_nodes)
    return spaces.Box(-1.0, 1.0, (len(RATIO_CONTROLS),), np.float32)
