"""The worlds of Algorithm Distillation: episodes for the sources, trials for the agent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.batch import BatchEnv
from envs.streams import Streams, seed_stream
from envs.tasks import TaskSet, TaskWorld
from envs.trial import Trial
from envs.world import World, make_world
from rl_suite.errors import UserError
from rl_suite.experiments import load_attribute
from rl_suite.registered import find_spec
from rl_suite.trust import check_options
from rl_suite.vec_env import BATCHED

NEEDED = "distillation needs a world of numbered tasks, an envs.tasks.TaskWorld (CONTRIBUTING.md shows one)"


@dataclass(frozen=True)
class TaskFamily:
    """One registered world whose tasks are numbered, such as ``rl_suite/DarkRoom-v0``."""

    env_id: str
    world: str | type[World]
    episode_steps: int
    options: Mapping[str, Any]

    @classmethod
    def named(cls, env_id: str, options: Mapping[str, Any]) -> "TaskFamily":
        """Look up a registered id; ``options`` replace the registered ones.

        Raises:
            UserError: there is no such id, or its world has no numbered tasks, no fixed episode length or no Discrete
                actions.
        """
        try:
            spec = find_spec(env_id)
        except (gym.error.Error, ImportError, ValueError) as error:
            raise UserError(f"distillation.world.id={env_id}: {error}") from None
        check_options(spec, options)
        for name in ("split", "tasks"):
            if name in options:
                raise UserError(
                    f"distillation.world.options.{name}: training, validation and test need the world's own splits"
                )
        known = dict(spec.kwargs)
        world = known.pop("world", None)
        if spec.vector_entry_point != BATCHED or world is None:
            raise UserError(f"distillation.world.id={env_id}: a plain Gymnasium environment, and {NEEDED}")
        kind = load_attribute(world) if isinstance(world, str) else world
        if issubclass(kind, Trial):
            raise UserError(f"distillation.world.id={env_id}: trials are made here; name the world without Trial")
        if not issubclass(kind, TaskWorld):
            raise UserError(f"distillation.world.id={env_id}: a world without numbered tasks, and {NEEDED}")
        if spec.max_episode_steps is None:
            raise UserError(f"distillation.world.id={env_id}: register it with max_episode_steps")
        family = cls(env_id, world, spec.max_episode_steps, {**known, **options})
        actions = family.make(1, "all").action_space
        if not isinstance(actions, spaces.Discrete) or actions.start != 0:
            raise UserError(f"distillation.world.id={env_id}: needs Discrete actions from 0, not {actions}")
        return family

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return int(self.make(1, "all").action_space.n)  # type: ignore[attr-defined]

    def make(self, n: int, split: str) -> World:
        """``n`` copies of the world, for the sources."""
        try:
            return make_world(self.world, n, split=split, **self.options)
        except (TypeError, ValueError, AttributeError, ImportError) as error:
            raise UserError(f"{self.env_id} with {self.options}: {error}") from None

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
