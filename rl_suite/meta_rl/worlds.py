"""Worlds whose tasks have numbers and names, played in batches of several episodes of several tasks at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

import envs  # noqa: F401  (registers the ids)
from envs.batch import BatchEnv
from envs.symbolic import PhysicsTask, PhysicsTaskDistribution
from envs.symbolic.datasets import Dataset
from envs.tasks import TaskSet, TaskWorld
from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.meta_rl.views import flat_size
from rl_suite.trust import check_options

SYMBOLIC = "rl_suite/SymbolicRegression-v0"
LIBRARY: dict[str, Any] = {  # of laws, unless it is said otherwise
    "functions": ["add", "sub", "mul", "div", "sq", "sqrt", "exp", "log", "sin", "cos"],
    "literals": ["1"],
    "constant": True,
    "expressions": False,  # spelling them out costs more than the step
}


class TaskWorlds:
    """Tasks of one world, numbered, named and grouped into families.

    Args:
        env_id: a Gymnasium id of ours with numbered tasks and discrete actions.
        options: constructor arguments of the world.
        max_episode_steps: where episodes are cut off; None: where the world does.
        names: of all tasks; None: ``task_0``, ...
        families: of all tasks; None: every task is a family of its own.

    Raises:
        UserError: no such world, or one without numbered tasks or discrete actions.
    """

    def __init__(
        self,
        env_id: str,
        options: Mapping[str, Any] | None = None,
        max_episode_steps: int | None = None,
        names: Sequence[str] | None = None,
        families: Sequence[str] | None = None,
    ):
        self.env_id, self.options, self.max_episode_steps = env_id, dict(options or {}), max_episode_steps
        self.names, self.families = names, families
        self._batches: dict[int, BatchEnv] = {}
        try:
            check_options(gym.spec(env_id), self.options)
            first = self.batch(1)
        except (gym.error.Error, ValueError, TypeError) as error:
            raise UserError(f"{env_id} with {sorted(self.options)}: {error}") from None
        space = first.single_action_space
        if not isinstance(first.world, TaskWorld) or not isinstance(space, spaces.Discrete):
            raise UserError(f"{env_id}: meta-learning needs a world with numbered tasks and Discrete actions")
        self.tasks: TaskSet = first.world.tasks
        self.action_dim = int(space.n)
        self.space = first.single_observation_space
        self.horizon = self._horizon(first)

    @classmethod
    def of_laws(
        cls,
        distribution: PhysicsTaskDistribution,
        options: Mapping[str, Any] | None = None,
        points: int = 200,
        seed: int = 0,
        observation_dim: int | None = None,
    ) -> "TaskWorlds":
        """The laws of a distribution as tasks of the symbolic world, with ``points`` rows of data each.

        Args:
            distribution: of laws.
            options: of the symbolic world, over :data:`LIBRARY`.
            points: rows of data.
            seed: of the data.
            observation_dim: show so few of the points that observations have no more numbers than this; None: as many
                as ``options`` say.

        Raises:
            UserError: the distribution is empty, or not even one point can be shown.
        """
        if not distribution.tasks:
            raise UserError("the task distribution holds no task")
        datasets = [
            dataset_of(task, points, np.random.default_rng([seed, i])) for i, task in enumerate(distribution.tasks)
        ]
        wanted = {**LIBRARY, **(options or {}), "task": datasets}
        tasks = distribution.tasks
        worlds = cls(SYMBOLIC, wanted, None, [task.name for task in tasks], [task.family for task in tasks])
        size = flat_size(worlds.space)
        if observation_dim is None or size <= observation_dim:
            return worlds
        shown, columns = worlds.space["data"].shape  # type: ignore[index]
        fitting = shown - -(-(size - observation_dim) // columns)
        if fitting < 1:
            raise UserError(f"{observation_dim} numbers show no data point; make observation_dim larger")
        return cls(SYMBOLIC, {**wanted, "shown_points": fitting}, None, worlds.names, worlds.families)

    def batch(self, n: int) -> BatchEnv:
        """The world with n copies; made once for each n."""
        if n not in self._batches:
            limit: dict[str, Any] = (
                {} if self.max_episode_steps is None else {"max_episode_steps": self.max_episode_steps}
            )
            made = gym.make_vec(self.env_id, num_envs=n, **limit, **self.options)
            if not isinstance(made, BatchEnv):
                raise UserError(f"{self.env_id}: is no world of this suite")
            self._batches[n] = made
        return self._batches[n]

    def name(self, task: int) -> str:
        """The task's name."""
        return f"task_{task}" if self.names is None else self.names[task]

    def family(self, task: int) -> str:
        """The family that the task belongs to."""
        return self.name(task) if self.families is None else self.families[task]

    def number(self, name: str) -> int:
        """The task of this name.

        Raises:
            UserError: there is none.
        """
        if self.names is not None:
            require_known(name, self.names, "task")
            return list(self.names).index(name)
        text = name.removeprefix("task_")
        if not text.isdigit() or int(text) not in self.tasks:
            raise UserError(f"no task is called {name!r}; they are called task_{self.tasks[0]} and so on")
        return int(text)

    def sample(self, rng: np.random.Generator, n: int) -> list[int]:
        """n tasks; distinct ones, if there are so many."""
        return [int(task) for task in self.tasks.choose(rng, n, replace=n > len(self.tasks))]

    def first(self, n: int) -> list[int]:
        """The first n tasks, or all."""
        return [self.tasks[i] for i in range(min(n, len(self.tasks)))]

    def _horizon(self, env: BatchEnv) -> int:
        """Most steps of an episode."""
        if env.max_episode_steps is not None:
            return env.max_episode_steps
        rules = getattr(env.world, "rules", None)
        if rules is None:
            raise UserError(f"{self.env_id}: say where episodes end: max_episode_steps")
        return int(rules.max_length)


def dataset_of(task: PhysicsTask, points: int, rng: np.random.Generator) -> Dataset:
    """Noisy data of a law, and test points in its ranges and around them as in ``Dataset.from_problem``."""
    table = task.generate_data(points, rng)
    outside = Dataset.from_problem(task.problem, int(rng.integers(2**31)), n_points=2)
    dummies = [rng.uniform(*task.variable_ranges[name], size=len(outside.y_test)) for name in task.dummies]
    tests = np.column_stack([outside.X_test, *dummies])
    return Dataset(task.name, task.variables, table[:, :-1], table[:, -1], None, task.true_law, tests, outside.y_test)
