"""Which recorded episodes may be looked at or lived again: every array fits the others, the options and the world.

A replay may come from a stranger. What is not refused here is indexed with by pictures and kernels.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from envs.durotaxis.env import RESET_OPTIONS
from envs.durotaxis.layout import action_space
from envs.durotaxis.measured import load_measured
from envs.durotaxis.metrics import METRICS
from envs.durotaxis.options import Options
from envs.durotaxis.scene import field_of_task
from envs.durotaxis.state import COS, CRITICAL, ENDINGS, GOAL, KIND, LIMIT, SAFE, SIN, TASK, TO_DELETE
from envs.durotaxis.substrate import STIFFEST, kinds_of, range_in_dish
from envs.states import COUNT, FINITE, Bound, checked

FORMAT = "durotaxis replay"
LARGEST_SEED = 2**63 - 1


def check_about(text: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Seed, options of ``reset`` and options of the world from a replay's JSON.

    Raises:
        ValueError: it is not what a replay says about itself, or it names a file to be read.
    """
    try:
        about = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(about, dict) or about.keys() != {"format", "seed", "reset_options", "options"}:
        raise ValueError("it does not say what a replay says")
    if about["format"] != FORMAT:
        raise ValueError("another format")
    seed, reset_options, options = about["seed"], about["reset_options"], about["options"]
    if type(seed) is not int or not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"the seed must be in 0..{LARGEST_SEED}")
    if not isinstance(reset_options, dict) or not set(reset_options) <= set(RESET_OPTIONS):
        raise ValueError(f"the options of reset must be some of {', '.join(RESET_OPTIONS)}")
    if not isinstance(options, dict) or "image" in options:
        raise ValueError("a measured field must lie in the file itself, and no file is read for it")
    return seed, reset_options, options


def check_episode(arrays: Mapping[str, NDArray[Any]], options: Options) -> None:
    """Refuse arrays that are no episode of a world with these options.

    Raises:
        ValueError: the message names the array.
    """
    space = action_space(options.max_nodes, options.action_mode == "per_node")
    steps, nodes, edges = (len(np.atleast_1d(arrays[name])) for name in ("actions", "identity", "edges"))
    if arrays["task"].shape != (len(TASK),) or arrays["metrics"].shape[1:] != (len(METRICS),):
        raise ValueError("it was recorded in another version of the world")
    inside: Bound = (-options.dish_radius * (1.0 + 1e-6), options.dish_radius * (1.0 + 1e-6))
    most_nodes = max(stage.node_limit for stage in options.stages())
    kinds: dict[str, tuple[DTypeLike, tuple[int, ...], Bound]] = {
        "task": (np.float64, (len(TASK),), FINITE),
        "actions": (np.float32, (steps, *space.shape), (float(space.low.min()), float(space.high.max()))),
        "rewards": (np.float64, (steps,), FINITE),
        "metrics": (np.float64, (steps + 1, len(METRICS)), FINITE),
        "ending": (np.int64, (steps + 1,), (0, len(ENDINGS) - 1)),
        "nodes_at": (np.int64, (steps + 2,), (0, nodes)),
        "edges_at": (np.int64, (steps + 2,), (0, edges)),
        "identity": (np.int32, (nodes,), COUNT),
        "mother": (np.int32, (nodes,), (-1, COUNT[1])),
        "parent": (np.int32, (nodes,), (-1, COUNT[1])),
        "born": (np.int32, (nodes,), (0, steps)),
        "mark": (np.int8, (nodes,), (0, TO_DELETE)),
        "x": (np.float32, (nodes,), inside),
        "y": (np.float32, (nodes,), inside),
        "intensity": (np.float32, (nodes,), FINITE),
        "edges": (np.int16, (edges, 2), (0, most_nodes - 1)),
    }
    if arrays.keys() != kinds.keys():
        raise ValueError(f"it must hold the arrays {', '.join(kinds)}")
    for name, (kind, shape, bound) in kinds.items():
        checked(name, arrays[name], np.broadcast_to(np.zeros((), kind), shape), bound, "array")
    _check_moments(arrays, most_nodes)
    _check_task(arrays["task"], options)


def _check_moments(arrays: Mapping[str, NDArray[Any]], most_nodes: int) -> None:
    """Every moment has its own nodes, born by then, and edges between them."""
    counts = {}
    for name, rows in (("nodes_at", arrays["identity"]), ("edges_at", arrays["edges"])):
        at = arrays[name]
        counts[name] = np.diff(at)
        if at[0] != 0 or at[-1] != len(rows) or (counts[name] < 0).any():
            raise ValueError(f"array {name!r} must rise from 0 to {len(rows)}")
    nodes, moments = counts["nodes_at"], np.arange(len(counts["nodes_at"]))
    if (nodes > most_nodes).any():
        raise ValueError(f"array 'nodes_at' says that there are more than {most_nodes} nodes at once")
    if (arrays["born"] > np.repeat(moments, nodes)).any():
        raise ValueError("array 'born' says that nodes are there before their birth")
    if (arrays["edges"] >= np.repeat(nodes, counts["edges_at"])[:, None]).any():
        raise ValueError("array 'edges' names a node that is not there")


def _check_task(task: NDArray[np.float64], options: Options) -> None:
    """The episode's field is one that the options can have: finite, positive and of sane height in the dish."""
    if task[KIND] not in {kind for stage in options.stages() for kind in kinds_of(stage)}:
        raise ValueError("array 'task' holds a field that its options do not have")
    if not 0 < task[GOAL] < task[SAFE] < options.dish_radius or not 1 <= task[CRITICAL] < task[LIMIT] <= 32767:
        raise ValueError("array 'task' holds distances or numbers of nodes that no world has")
    if abs(np.hypot(task[COS], task[SIN]) - 1.0) > 1e-6:
        raise ValueError("array 'task' holds no direction")
    highest = STIFFEST * max(stage.base_intensity for stage in options.stages())
    try:
        low, high = range_in_dish(field_of_task(task), load_measured(options), options.dish_radius)
    except ZeroDivisionError:
        raise ValueError("array 'task' holds a field without width") from None
    if not 0 < low <= high <= highest:
        raise ValueError(f"array 'task' holds a field of {low:.4g} to {high:.4g} inside the dish")
