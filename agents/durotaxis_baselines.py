"""Agents for the durotaxis world that learn nothing: blind controls and one that follows the gradient it sees.

They read the two kinds of action off the action space and know the order of the node features (x, y,
intensity first, all relative to the centroid), and nothing else of the world. Angles are radians.
"""

import math
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agents.protocol import AgentState, Observation

Floats = NDArray[np.float64]

SPAWN, DELETE, STAY = range(3)  # operations of a node
X, Y, INTENSITY = range(3)  # columns of the node features
NUM_NODES = 0  # graph feature: nodes / critical number
GOLDEN = 0.618033988749895  # its multiples spread evenly over [0, 1) (Weyl 1916)


class DurotaxisActions:
    """Writes flat actions of either kind: one part per node, or one (ratio, cos, sin) for the colony.

    Args:
        action_space: of one environment; a hybrid space with 3 operations and 4 values per part, or a Box (3,).
    """

    def __init__(self, action_space: spaces.Space[Any]):
        parts = getattr(action_space, "n_parts", None)
        if action_space.shape != ((3,) if parts is None else (5 * parts,)):
            raise ValueError(f"the durotaxis agents need parts of 1 + 4 or a Box (3,), not {action_space}")
        self.n_parts: int | None = parts

    def of_ratio(self, ratio: Floats, direction: Floats) -> NDArray[np.float32]:
        """Delete the fraction ``ratio`` (B,) of the nodes, rearmost along ``direction`` (B,): (B, 3)."""
        ratio, direction = np.broadcast_arrays(ratio, direction)
        action = np.stack([2 * ratio - 1, np.cos(direction), np.sin(direction)], axis=-1)
        flat: NDArray[np.float32] = np.clip(action, -1, 1).astype(np.float32)
        return flat

    def of_nodes(self, operations: NDArray[np.int64], direction: Floats, reach: float = 1.0) -> NDArray[np.float32]:
        """Operations (B, N) and spawning directions (B, N): (B, 5 N), at the longest reach without noise."""
        operations, direction = np.broadcast_arrays(operations, direction)
        theta = (direction / math.pi + 1) % 2 - 1
        full = np.full(operations.shape, reach)
        parts = np.stack([operations, full, -full, -np.ones(operations.shape), theta], axis=-1)  # (B, N, 5)
        return parts.reshape(len(parts), -1).astype(np.float32)


class Constant:
    """Blind: the same action at every step. See :func:`constant_actions` for a grid of them.

    >>> agent = Constant(np.array([0.0, 1.0, 0.0]))
    >>> agent.predict({"graph": np.zeros((2, 19))})[0].shape
    (2, 3)
    """

    def __init__(self, action: NDArray[Any]):
        self.action = np.asarray(action, dtype=np.float32)

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], AgentState]:
        """Repeat it for B environments (see ``agents.protocol``)."""
        return np.tile(self.action, (_batch_size(observation), 1)), state


class BiasedRandom:
    """Blind: random actions with fixed probabilities around a fixed direction.

    Args:
        action_space: of one environment.
        direction: that is preferred, radians.
        spread: standard deviation of the direction, radians; infinite for none preferred.
        delete: probability that a node is deleted, or mean ratio of deleted nodes.
        stay: probability that a node stays; the rest spawns. Without effect on ratios.
        jitter: standard deviation of the ratio.
        seed: of its choices.
    """

    def __init__(
        self,
        action_space: spaces.Space[Any],
        direction: float = 0.0,
        spread: float = 0.5,
        delete: float = 0.5,
        stay: float = 0.0,
        jitter: float = 0.05,
        seed: int = 0,
    ):
        if not (delete >= 0 and stay >= 0 and delete + stay <= 1):
            raise ValueError(f"delete={delete} and stay={stay} must be probabilities with a sum of at most 1")
        self.actions, self.direction, self.spread = DurotaxisActions(action_space), direction, spread
        self.delete, self.stay, self.jitter = delete, stay, jitter
        self._rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], AgentState]:
        """Draw B actions (see ``agents.protocol``); ``deterministic`` changes nothing."""
        batch, parts = _batch_size(observation), self.actions.n_parts
        if parts is None:
            return self.actions.of_ratio(
                self._rng.normal(self.delete, self.jitter, batch), self._directions(batch)
            ), None
        chosen = self._rng.random((batch, parts))
        operations = np.select([chosen < self.delete, chosen < self.delete + self.stay], [DELETE, STAY], default=SPAWN)
        return self.actions.of_nodes(operations, self._directions(batch, parts)), None

    def _directions(self, *shape: int) -> Floats:
        if math.isinf(self.spread):
            return self._rng.uniform(-math.pi, math.pi, shape)
        return self._rng.normal(self.direction, self.spread, shape)


class UpGradient:
    """Observes: fits a plane to the intensities it sees and grows up its slope.

    The softest nodes are deleted (or the rearmost along the slope, which is the same), the others spawn up the slope,
    fanned out so that the colony stays wide enough to feel the ground to its sides. Where it feels no slope it
    takes a random direction at every step.

    Args:
        action_space: of one environment.
        target: number of nodes to keep, as a fraction of the critical number.
        fan: half width of the fan of spawning directions, radians.
        seed: of the directions on flat ground.
    """

    def __init__(self, action_space: spaces.Space[Any], target: float = 0.875, fan: float = 0.8, seed: int = 0):
        self.actions, self.target, self.fan = DurotaxisActions(action_space), target, fan
        self._rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], AgentState]:
        """Act on B colonies (see ``agents.protocol``); only on flat ground is it not deterministic."""
        if not isinstance(observation, dict):
            raise TypeError("the durotaxis agents need the whole observation, a dict of arrays")
        nodes, real = np.asarray(observation["x"], dtype=np.float64), np.asarray(observation["node_mask"]) > 0
        slope = plane_slope(nodes, real)  # (B, 2)
        direction = np.arctan2(slope[:, 1], slope[:, 0])
        lost = np.hypot(slope[:, 0], slope[:, 1]) < 1e-6
        direction[lost] = self._rng.uniform(-math.pi, math.pi, lost.sum())
        count = real.sum(axis=1)
        wanted = self.target * count / np.maximum(np.asarray(observation["graph"])[:, NUM_NODES], 1e-6)
        spare = np.clip(count - wanted / 2, 0, count - 1)  # what is left spawns once each
        if self.actions.n_parts is None:
            return self.actions.of_ratio((spare + 0.5) / np.maximum(count, 1), direction), None
        along = nodes[..., X] * np.cos(direction)[:, None] + nodes[..., Y] * np.sin(direction)[:, None]
        key = np.where(lost[:, None], along, nodes[..., INTENSITY])
        rank = np.where(real, key, np.inf).argsort(axis=1, kind="stable").argsort(axis=1)  # 0 = softest
        operations = np.where(rank < np.rint(spare)[:, None], DELETE, SPAWN)
        fan = self.fan * (2 * (np.arange(nodes.shape[1]) * GOLDEN % 1) - 1)  # (N,)
        return self.actions.of_nodes(operations, direction[:, None] + fan), None


def plane_slope(nodes: Floats, real: NDArray[np.bool_], ridge: float = 1e-3) -> Floats:
    """Slope (B, 2) of the planes that fit the intensities of nodes (B, N, F) best; ``real`` (B, N) masks padding.

    The ridge, a fraction of the spread of the positions, keeps colonies on a line from inventing a slope across it.

    >>> nodes = np.array([[[0, 0, 0], [1, 0, 2], [0, 1, 3], [1, 1, 5], [9, 9, 0]]], dtype=float)
    >>> plane_slope(nodes, np.array([[True, True, True, True, False]]), ridge=0.0).round(6).tolist()
    [[2.0, 3.0]]
    """
    weight = real / np.maximum(real.sum(axis=1, keepdims=True), 1)
    values = nodes[..., [X, Y, INTENSITY]]
    values = values - (weight[..., None] * values).sum(axis=1, keepdims=True)
    moments = np.einsum("bn,bni,bnj->bij", weight, values, values)  # (B, 3, 3)
    positions = moments[:, :2, :2] + (ridge * np.trace(moments[:, :2, :2], axis1=1, axis2=2))[:, None, None] * np.eye(2)
    positions = positions + 1e-12 * np.eye(2)
    return np.linalg.solve(positions, moments[:, :2, 2:])[..., 0]


def treadmill(action_space: spaces.Space[Any], direction: float = 0.0, way: str = "old", n_nodes: int = 56) -> Constant:
    """Blind: walk straight in one direction (radians) by a constant action that keeps ``n_nodes`` nodes in number.

    ``way`` says which half of the nodes is deleted, while the others spawn: the "old" or the "young" ones or every
    "odd" one. A ratio action deletes the rearmost half instead.
    """
    actions = DurotaxisActions(action_space)
    if actions.n_parts is None:
        return Constant(actions.of_ratio(np.array([0.5]), np.array([direction]))[0])
    part = np.arange(actions.n_parts)
    deleted = {"old": part < n_nodes // 2, "young": part >= n_nodes // 2, "odd": part % 2 == 1}[way]
    return Constant(actions.of_nodes(np.where(deleted, DELETE, SPAWN)[None], np.array([[direction]]))[0])


def constant_actions(action_space: spaces.Space[Any], n_directions: int = 8, n_nodes: int = 56) -> dict[str, Constant]:
    """A grid of blind constant agents by name: directions times ways to delete half of ``n_nodes`` nodes."""
    ways = ("old",) if DurotaxisActions(action_space).n_parts is None else ("old", "young", "odd")
    directions = np.linspace(-math.pi, math.pi, n_directions, endpoint=False)
    return {
        f"{math.degrees(direction):+.0f} degrees, {way}": treadmill(action_space, float(direction), way, n_nodes)
        for direction in directions
        for way in ways
    }


def _batch_size(observation: Observation) -> int:
    return len(next(iter(observation.values())) if isinstance(observation, dict) else observation)
