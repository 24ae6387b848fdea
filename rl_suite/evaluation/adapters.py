"""Small agents that an evaluation needs beside the one it is about."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from agents.protocol import Agent, AgentState, Observation


class RandomAgent:
    """Takes every allowed action with the same probability, whatever it sees.

    Args:
        action_space: of one environment.
        seed: of its choices.
    """

    def __init__(self, action_space: spaces.Space[Any], seed: int = 0):
        self.action_space = action_space
        self._rng = np.random.default_rng(seed)
        self._batch: spaces.Space[Any] | None = None
        self._size = 0

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[Any], AgentState]:
        """One action per row; ``deterministic`` changes nothing, there is no best one."""
        size = len(next(iter(observation.values())) if isinstance(observation, dict) else observation)
        if action_masks is not None:
            return self._allowed(np.asarray(action_masks)), state
        if self._batch is None or size != self._size:
            self._batch, self._size = batch_space(self.action_space, size), size
            self._batch.seed(int(self._rng.integers(2**31)))
        return np.asarray(self._batch.sample()), state

    def _allowed(self, masks: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Uniform among the allowed actions: the highest of random scores, forbidden ones scoring below all."""
        scores = np.where(masks, self._rng.random(masks.shape), -1.0)  # (B, n)
        if isinstance(self.action_space, spaces.MultiDiscrete):
            parts = np.split(scores, np.cumsum(self.action_space.nvec)[:-1], axis=1)
            return np.stack([part.argmax(axis=1) for part in parts], axis=1)
        first = int(self.action_space.start) if isinstance(self.action_space, spaces.Discrete) else 0
        best: NDArray[np.int64] = first + scores.argmax(axis=1)
        return best


class NormalisingAgent:
    """An agent that was trained on normalised observations, in a world that shows them raw.

    Args:
        agent: the trained one.
        normalise: maps a batch of raw observations to normalised ones without learning from them, such
            as ``VecNormalize.normalize_obs``.
    """

    def __init__(self, agent: Agent, normalise: Callable[[Any], Any]):
        self.agent, self.normalise = agent, normalise

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
        **masks: Any,
    ) -> tuple[NDArray[Any], AgentState]:
        """What the agent does on the normalised observations."""
        return self.agent.predict(
            self.normalise(observation), state=state, episode_start=episode_start, deterministic=deterministic, **masks
        )
