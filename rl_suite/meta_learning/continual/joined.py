"""Copies of several worlds in one SB3 batch, so that a policy can be taught all of them at once."""

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from rl_suite.errors import UserError


class JoinedVecEnv(VecEnv):
    """The copies of several batches side by side.

    Args:
        parts: batches with the same observation and action spaces, whose observations are single arrays.

    Raises:
        UserError: the spaces differ.
    """

    def __init__(self, parts: Sequence[VecEnv]):
        self.parts = list(parts)
        first = self.parts[0]
        spaces = [(part.observation_space, part.action_space) for part in self.parts]
        if any(pair != spaces[0] for pair in spaces):
            raise UserError(f"worlds of one sequence need the same spaces, not {spaces[0]} and {spaces[-1]}")
        self._ends = np.cumsum([part.num_envs for part in self.parts])
        super().__init__(int(self._ends[-1]), first.observation_space, first.action_space)

    def reset(self) -> VecEnvObs:
        """First observations of all copies."""
        return np.concatenate([part.reset() for part in self.parts])

    def step_async(self, actions: np.ndarray) -> None:
        """Hand every part its actions."""
        for part, own in zip(self.parts, np.split(actions, self._ends[:-1]), strict=True):
            part.step_async(own)

    def step_wait(self) -> VecEnvStepReturn:
        """What came of them."""
        observations, rewards, dones, infos = zip(*(part.step_wait() for part in self.parts), strict=True)
        together = [info for own in infos for info in own]
        return np.concatenate(observations), np.concatenate(rewards), np.concatenate(dones), together

    def close(self) -> None:
        """Close all parts."""
        for part in self.parts:
            part.close()

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Every copy gets a seed of its own."""
        start = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        seeds: list[int | None] = []
        for part in self.parts:
            seeds += part.seed(start + len(seeds))
        return seeds

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of each copy."""
        values = [value for part in self.parts for value in part.get_attr(attr_name)]
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of each copy."""
        for part, own in self._dealt(indices):
            part.set_attr(attr_name, value, own)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method of each copy."""
        dealt = self._dealt(indices)
        return [value for part, own in dealt for value in part.env_method(method_name, *args, indices=own, **kwargs)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Whether each copy is wrapped so."""
        dealt = self._dealt(indices)
        return [value for part, own in dealt for value in part.env_is_wrapped(wrapper_class, own)]

    def _dealt(self, indices: VecEnvIndices) -> Iterable[tuple[VecEnv, list[int]]]:
        """Each part with the copies of it that are meant, numbered within it."""
        starts = np.concatenate([[0], self._ends[:-1]])
        chosen = list(self._get_indices(indices))
        for part, start, end in zip(self.parts, starts, self._ends, strict=True):
            own = [int(i - start) for i in chosen if start <= i < end]
            if own:
                yield part, own
