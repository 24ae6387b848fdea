"""The state of B colonies as arrays, and the constants that every colony of a world shares.

Nodes of one colony stand in the order of their birth, without gaps. C is the capacity of the arrays: the
largest ``node_limit`` of any curriculum stage. Tables with several columns name them here.

Kernels that take ``Colonies`` are compiled with ``inline="always"``: handing 28 arrays to a function once
per colony costs more than most of these functions do (measured: 41 against 58 thousand steps per second).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.durotaxis.options import Options

# Columns of ``Colonies.task``: what stays the same during an episode.
TASK = (
    "kind", "base", "height", "peak", "width", "cos", "sin",  # the field, as in ``substrate.Field``
    "direction",  # degrees; the same as cos and sin
    "start_intensity", "rise",  # intensity at the start, and from there to the goal line
    "goal", "safe", "start_nodes", "critical", "limit",  # px, px, nodes, nodes, nodes
    "weight_delete", "weight_distance", "weight_termination",
)  # fmt: skip
(
    KIND, BASE, HEIGHT, PEAK, WIDTH, COS, SIN, DIRECTION, START_INTENSITY, RISE, GOAL, SAFE, START_NODES, CRITICAL,
    LIMIT, WEIGHT_DELETE, WEIGHT_DISTANCE, WEIGHT_TERMINATION,
) = range(len(TASK))  # fmt: skip

# Columns of ``Colonies.sums``: what an episode has added up so far.
LAGS = (1, 2, 4, 8, 16)  # steps over which the mean squared displacement is followed
PATH, UP, DOWN, TURNS, TURN_COSINES, RETREAT, POTENTIAL, MARKING_PAID, START_FRONT, START_REAR, FIRST_LAG = range(11)
N_SUMS = FIRST_LAG + len(LAGS)
TRAIL = LAGS[-1] + 1  # centroids that are remembered

# How an episode ended.
ENDINGS = ("running", "goal", "too_many_nodes", "no_nodes", "out_of_bounds", "retreat", "time")
RUNNING, AT_GOAL, TOO_MANY_NODES, NO_NODES, OUT_OF_BOUNDS, RETREATED, TIME_IS_UP = range(len(ENDINGS))

UNMARKED, KEEP, TO_DELETE = range(3)  # marks of nodes


class Colonies(NamedTuple):
    """All that the future of B colonies depends on, besides the streams."""

    task: NDArray[np.float64]  # (B, len(TASK))
    stage: NDArray[np.int64]  # (B,) curriculum stage
    outcomes: NDArray[np.int8]  # (B, advance_window) the last episodes of this stage: 1 success, 0 failure, -1 none
    step: NDArray[np.int64]  # (B,) steps of the episode so far
    nodes: NDArray[np.int64]  # (B,) how many there are
    births: NDArray[np.int64]  # (B,) of the episode
    deaths: NDArray[np.int64]  # (B,)
    ending: NDArray[np.int64]  # (B,) index of ENDINGS
    x: NDArray[np.float64]  # (B, C) px from the centre of the dish
    y: NDArray[np.float64]
    intensity: NDArray[np.float64]  # (B, C) of the field under each node
    heading: NDArray[np.float64]  # (B, C) radians; kept up to date only where nodes have motility
    anchor_x: NDArray[np.float32]  # (B, C) where the node has stayed since ``anchor_step``
    anchor_y: NDArray[np.float32]
    anchor_step: NDArray[np.int32]
    born: NDArray[np.int32]  # (B, C) step of birth
    identity: NDArray[np.int32]  # (B, C) never used twice in an episode
    mother: NDArray[np.int32]  # (B, C) identity of the node that spawned this one; -1 at the start
    deadline: NDArray[np.int32]  # (B, C) step by which a node marked TO_DELETE should be gone
    parent: NDArray[np.int16]  # (B, C) slot of the neighbour towards the root of the tree; -1 for the root
    mark: NDArray[np.int8]  # (B, C)
    on_hull: NDArray[np.int8]  # (B, C)
    mean_distance: NDArray[np.float32]  # (B, C) px, to the other nodes
    nearest: NDArray[np.int16]  # (B, C, k) slots of the nearest nodes, -1 where there are fewer; C = 0 with tree edges
    trail: NDArray[np.float64]  # (B, TRAIL, 2) the last centroids, that of step t in row t % TRAIL
    sums: NDArray[np.float64]  # (B, N_SUMS)
    metrics: NDArray[np.float64]  # (B, len(METRICS)) what ``info`` reports


class Physics(NamedTuple):
    """Options that are the same for every colony of a world and at every stage, as numbers for the kernels."""

    per_node: bool
    max_nodes: int
    neighbours: int  # per node; 0 for tree edges
    neighbour_repair: bool
    motor_clutch: bool
    hill_exponent: float
    clutch_optimum: float
    gamma_low: float
    gamma_high: float
    alpha_low: float
    alpha_high: float
    noise_low: float
    noise_high: float
    gamma: float
    alpha: float
    noise: float
    max_ratio: float
    allow_stay: bool
    dish_radius: float
    spring_stiffness: float
    spring_rest: float
    motility: float
    persistence_per_intensity: float
    homeostatic: bool
    body_length: float
    horizon: int
    shaping: float
    shaping_gamma: float
    mark_margin: float
    mark_delay: int
    retreat_steps: int
    assay_steps: int  # 0 in the task
    sensing_noise: float
    um_per_px: float
    hours_per_step: float
    kpa_per_intensity: float


class Scratch(NamedTuple):
    """Room in which kernels work on one row at a time; nothing in it outlives a call."""

    operations: NDArray[np.int64]  # (C,)
    controls: NDArray[np.float64]  # (C, 4)
    kept: NDArray[np.int64]  # (C,)
    slots: NDArray[np.int64]
    order: NDArray[np.int64]
    incoming: NDArray[np.int64]
    outgoing: NDArray[np.int64]
    hull: NDArray[np.int64]  # (2C + 2,)
    reals: NDArray[np.float64]  # (C,)
    coarse_x: NDArray[np.float32]
    coarse_y: NDArray[np.float32]
    word: NDArray[np.uint64]  # (1,)


def new_scratch(capacity: int) -> Scratch:
    """Room for colonies of at most ``capacity`` nodes."""
    shapes = {"controls": (capacity, 4), "hull": (2 * capacity + 2,), "word": (1,)}
    kinds: dict[str, type[np.generic]] = {
        "controls": np.float64, "reals": np.float64, "coarse_x": np.float32, "coarse_y": np.float32, "word": np.uint64,
    }  # fmt: skip
    return Scratch(*[np.zeros(shapes.get(name, (capacity,)), kinds.get(name, np.int64)) for name in Scratch._fields])


def physics_of(options: Options) -> Physics:
    """Read the constants off the options."""
    same = {name: getattr(options, name) for name in Physics._fields if hasattr(options, name)}
    bounds = {
        f"{name}_{side}": float(getattr(options, f"{name}_range")[i])
        for name in ("gamma", "alpha", "noise")
        for i, side in enumerate(("low", "high"))
    }
    derived = {
        "per_node": options.action_mode == "per_node",
        "neighbours": options.neighbours if options.edges == "knn" else 0,
        "neighbour_repair": options.repair == "neighbour",
        "motor_clutch": options.reach == "motor_clutch",
        "assay_steps": options.assay_steps if options.mode == "assay" else 0,
        "homeostatic": options.delete_reward == "homeostatic",
        "persistence_per_intensity": options.persistence / options.base_intensity,
        "hours_per_step": options.min_per_step / 60.0,
    }
    values = {**same, **bounds, **derived}
    kinds = Physics.__annotations__  # an option may hold 1 where the kernels need 1.0
    return Physics(*[kinds[name](values[name]) for name in Physics._fields])


def pack(physics: Physics) -> NDArray[np.void]:
    """The constants as one record (1,): numba hands over one array ten times faster than a tuple of 34 numbers."""
    kinds = {bool: np.bool_, int: np.int64, float: np.float64}
    record = np.zeros(1, dtype=[(name, kinds[kind]) for name, kind in Physics.__annotations__.items()])
    record[0] = tuple(physics)
    return record


def new_colonies(num_envs: int, capacity: int, neighbours: int, window: int, n_metrics: int) -> Colonies:
    """Empty arrays for B colonies of at most ``capacity`` nodes."""
    kinds: dict[str, type[np.generic]] = {
        "x": np.float64, "y": np.float64, "intensity": np.float64, "heading": np.float64,
        "anchor_x": np.float32, "anchor_y": np.float32, "mean_distance": np.float32,
        "anchor_step": np.int32, "born": np.int32, "identity": np.int32, "mother": np.int32, "deadline": np.int32,
        "parent": np.int16, "mark": np.int8, "on_hull": np.int8,
    }  # fmt: skip
    counters = ("stage", "step", "nodes", "births", "deaths", "ending")
    arrays: dict[str, Any] = {name: np.zeros(num_envs, dtype=np.int64) for name in counters}
    arrays |= {name: np.zeros((num_envs, capacity), dtype=kind) for name, kind in kinds.items()}
    return Colonies(
        task=np.zeros((num_envs, len(TASK))),
        outcomes=np.full((num_envs, window), -1, dtype=np.int8),
        nearest=np.full((num_envs, capacity if neighbours else 0, neighbours), -1, dtype=np.int16),
        trail=np.zeros((num_envs, TRAIL, 2)),
        sums=np.zeros((num_envs, N_SUMS)),
        metrics=np.zeros((num_envs, n_metrics)),
        **arrays,
    )
