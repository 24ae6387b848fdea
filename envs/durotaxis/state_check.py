"""Which states of colonies the kernels may be handed: slots inside the arrays, trees without circles."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from envs.durotaxis.state import ENDINGS, KIND, LIMIT, START_NODES, TO_DELETE, Colonies
from envs.states import COUNT, FINITE, FLAG, Bound

DELETED = -2  # left behind in ``parent`` of slots that are no longer in use


def colony_bounds(colonies: Colonies, n_stages: int, dish_radius: float) -> Mapping[str, Bound]:
    """Lowest and highest value of every array of ``colonies``."""
    capacity = colonies.x.shape[1]
    inside: Bound = (-dish_radius * (1.0 + 1e-6), dish_radius * (1.0 + 1e-6))
    bounds: dict[str, Bound] = {
        "stage": (0, n_stages - 1),
        "outcomes": (-1, 1),
        "nodes": (0, capacity),
        "ending": (0, len(ENDINGS) - 1),
        "mother": (-1, COUNT[1]),
        "parent": (DELETED, capacity - 1),
        "nearest": (-1, capacity - 1),
        "mark": (0, TO_DELETE),
        "on_hull": FLAG,
        **dict.fromkeys(("x", "y", "anchor_x", "anchor_y", "trail"), inside),
        **dict.fromkeys(("task", "intensity", "heading", "mean_distance", "sums", "metrics"), FINITE),
        **dict.fromkeys(("step", "births", "deaths", "anchor_step", "born", "identity", "deadline"), COUNT),
    }
    return {name: bounds[name] for name in Colonies._fields}


def require_consistent(state: Mapping[str, NDArray[np.generic]], kinds: Collection[int], capacity: int) -> None:
    """Refuse states whose arrays contradict each other; each array is within its bounds already.

    Raises:
        ValueError: fields that this world does not have, more nodes than fit, slots that hold no node, circles.
    """
    task = np.asarray(state["task"], dtype=np.float64)
    if not np.isin(task[:, KIND], list(kinds)).all():
        raise ValueError("state 'task' holds a field that this world does not have")
    for column in (START_NODES, LIMIT):
        if not ((task[:, column] >= 0) & (task[:, column] <= capacity)).all():
            raise ValueError(f"state 'task' asks for more than the {capacity} nodes that fit")
    nodes = np.asarray(state["nodes"], dtype=np.int64)
    alive = np.arange(capacity) < nodes[:, None]  # (B, C)
    parent = np.where(alive, np.asarray(state["parent"], dtype=np.int64), -1)
    if (parent < -1).any() or (parent >= nodes[:, None]).any():
        raise ValueError("state 'parent' names a node that is not there")
    above = parent
    for _ in range(capacity.bit_length()):  # each time twice as far towards the root
        above = np.where(above >= 0, np.take_along_axis(above, np.maximum(above, 0), axis=1), -1)
    if (above >= 0).any():
        raise ValueError("state 'parent' goes in a circle")
    nearest = np.asarray(state["nearest"])
    if nearest.shape[1] and (np.where(alive[:, :, None], nearest, -1) >= nodes[:, None, None]).any():
        raise ValueError("state 'nearest' names a node that is not there")
