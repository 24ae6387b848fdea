"""Agents that learn nothing: what every result is measured against.

The oracles know the task because their world shows it to them (``show_goal``, ``show_means``); they earn what
a learner could earn at best.
"""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from agents.protocol import AgentState, Observation

Ints = NDArray[np.int64]

DOWN, UP, RIGHT, LEFT, STAY = range(5)  # the moves of the dark rooms: next row, previous row, next column, ...


class RandomAgent:
    """Uniform random actions, among the allowed ones where a mask (B, n) stands in the observation or is handed over.

    Args:
        action_space: of one environment.
        seed: of its choices.

    >>> agent = RandomAgent(spaces.Discrete(3), seed=0)
    >>> actions, _ = agent.predict(np.zeros((4, 2)))
    >>> actions.shape, bool((actions < 3).all())
    ((4,), True)
    """

    def __init__(self, action_space: spaces.Space[Any], seed: int = 0):
        self.action_space, self._seed = action_space, seed
        self._rng = np.random.default_rng(seed)
        self._batches: dict[int, spaces.Space[Any]] = {}  # the space of B actions, by B

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[Any], AgentState]:
        """Draw B actions (see ``agents.protocol``); ``deterministic`` changes nothing, there is no best one."""
        if action_masks is None and isinstance(observation, dict) and isinstance(self.action_space, spaces.Discrete):
            action_masks = observation.get("action_mask")
        if action_masks is not None:
            return self._allowed(np.asarray(action_masks, dtype=np.bool_)), None
        batch_size = _batch_size(observation)
        if batch_size not in self._batches:
            self._batches[batch_size] = batch_space(self.action_space, batch_size)
            self._batches[batch_size].seed(self._seed)
        return np.asarray(self._batches[batch_size].sample()), None

    def _allowed(self, masks: NDArray[np.bool_]) -> Ints:
        """Uniform among the allowed actions: the highest of random scores, forbidden ones scoring below all."""
        scores = np.where(masks, self._rng.random(masks.shape), -1.0)  # (B, n)
        if isinstance(self.action_space, spaces.MultiDiscrete):
            parts = np.split(scores, np.cumsum(self.action_space.nvec)[:-1], axis=1)
            return np.stack([part.argmax(axis=1) for part in parts], axis=1)
        first = int(self.action_space.start) if isinstance(self.action_space, spaces.Discrete) else 0
        best: Ints = first + scores.argmax(axis=1)
        return best


class RoomOracle:
    """Walks straight to the goal of a dark room that shows it; to key and door in turn where these are shown.

    Args:
        observation_space: of a ``DarkRoom`` or ``DarkKeyToDoor`` made with ``show_goal=True``, or of a trial of it.
    """

    def __init__(self, observation_space: spaces.Space[Any]):
        if isinstance(observation_space, spaces.Dict):
            observation_space = observation_space["observation"]
        columns = len(observation_space.nvec) if isinstance(observation_space, spaces.MultiDiscrete) else 0
        # row, column, then (goal) or (key, door, progress), then perhaps the moves of the five actions
        if columns not in (4, 9, 7, 12):
            raise ValueError("the oracle of the dark rooms needs to see the goal: make the world with show_goal=True")
        self._has_key, self._is_permuted = columns in (7, 12), columns in (9, 12)

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[Ints, AgentState]:
        """Take a step towards the target (see ``agents.protocol``)."""
        seen = _inner(observation)
        row, column, target_row, target_column = seen[:, :4].T
        if self._has_key:
            taken = seen[:, 6] > 0
            target_row = np.where(taken, seen[:, 4], target_row)
            target_column = np.where(taken, seen[:, 5], target_column)
        conditions = [row < target_row, row > target_row, column < target_column, column > target_column]
        moves = np.select(conditions, [DOWN, UP, RIGHT, LEFT], default=STAY)
        if not self._is_permuted:
            return moves, None
        return (seen[:, -5:] == moves[:, None]).argmax(axis=1), None  # the action that makes this move


class BanditOracle:
    """Pulls the best arm of a bandit that shows its means (``show_means=True``), or of a trial of it."""

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[Ints, AgentState]:
        """Pull the arm with the highest mean (see ``agents.protocol``)."""
        means = _inner(observation)
        if means.ndim != 2:
            raise ValueError("the oracle of the bandits needs to see the means: make the world with show_means=True")
        return means.argmax(axis=1), None


def _inner(observation: Observation) -> NDArray[Any]:
    return np.asarray(observation["observation"] if isinstance(observation, dict) else observation)


def _batch_size(observation: Observation) -> int:
    return len(next(iter(observation.values())) if isinstance(observation, dict) else observation)
