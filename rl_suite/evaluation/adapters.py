"""An agent seen through something that training put between it and the world."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.protocol import Agent, AgentState, Observation


def takes_masks(agent: Agent) -> bool:
    """Whether ``predict`` has an argument ``action_masks``, as MaskablePPO's has."""
    return "action_masks" in inspect.signature(agent.predict).parameters


class NormalisingAgent:
    """An agent that was trained on normalised observations, in a world that shows them raw.

    Args:
        agent: the trained one.
        normalise: maps a batch of raw observations to normalised ones without learning from them, such
            as ``VecNormalize.normalize_obs``.
    """

    def __init__(self, agent: Agent, normalise: Callable[[Any], Any]):
        self.agent, self.normalise, self._takes_masks = agent, normalise, takes_masks(agent)

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[Any], AgentState]:
        """What the agent does on the normalised observations; masks go on to one that takes them."""
        masks = {"action_masks": action_masks} if self._takes_masks else {}
        return self.agent.predict(
            self.normalise(observation), state=state, episode_start=episode_start, deterministic=deterministic, **masks
        )
