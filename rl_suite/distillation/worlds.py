"""The worlds of Algorithm Distillation: episodes for the sources, trials for the agent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import envs  # noqa: F401  (registers the ids)
from envs.batch import BatchEnv, World, make_world
from envs.streams import Streams, seed_stream
from envs.tasks import TaskSet, TaskWorld
from envs.trial import Trial
from rl_suite.errors import UserError
from rl_suite.trust import check_options


@dataclass(frozen=True)
class TaskFamily:
    """One registered world whose tasks are numbered, such as ``rl_suite/DarkRoom-v0``."""

    env_id: str
    world: str
    episode_steps: int
    options: Mapping[str, Any]

    @classmethod
    def named(cls, env_id: str, options: Mapping[str, Any]) -> "TaskFamily":
        """Look up a registered id; ``options`` replace the registered ones.

        Raises:
            UserError: there is no such id, or its world has no numbered tasks or no fixed episode length.
        """
        try:
            spec = gym.spec(env_id)
        except gym.error.Error as error:
            raise UserError(f"env_id {env_id!r}: {error}") from None
        check_options(spec, options)
        known = dict(spec.kwargs)
        world = known.pop("world", None)
        if world is None or spec.max_episode_steps is None:
            raise UserError(f"env_id {env_id!r}: distillation needs a world with a fixed number of steps per episode")
        family = cls(env_id, world, spec.max_episode_steps, {**known, **options})
        if not isinstance(family.make(1, "all"), TaskWorld):
            raise UserError(f"env_id {env_id!r}: distillation needs a world with numbered tasks")
        return family

    def make(self, n: int, split: str) -> World:
        """``n`` copies of the world, for the sources."""
        try:
            return make_world(self.world, n, split=split, **self.options)
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.env_id}: {error}") from None

    def tasks(self, split: str) -> TaskSet:
        """The tasks of a split."""
        world = self.make(1, split)
        assert isinstance(world, TaskWorld)
        return world.tasks

    def trials(self, n: int, n_episodes: int, split: str) -> BatchEnv:
        """``n`` trials of ``n_episodes`` episodes each, for the agent."""
        return BatchEnv(
            Trial,
            num_envs=n,
            inner=self.world,
            episode_steps=self.episode_steps,
            episodes_per_trial=n_episodes,
            split=split,
            **self.options,
        )


def begin_tasks(world: World, tasks: NDArray[np.int64], rng: np.random.Generator) -> Streams:
    """Give every copy its task and return the random streams that its episodes go on with."""
    streams = np.array([seed_stream(rng) for _ in range(world.num_envs)], dtype=np.uint64)
    world.sample_tasks(world.all_rows, streams, {"task": tasks})
    return streams
