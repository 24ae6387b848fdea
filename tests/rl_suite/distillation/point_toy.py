"""Worlds of somebody else: a point that looks for a hidden place, and a plain environment."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.tasks import TaskSet, TaskWorld

PLACES = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 7), np.linspace(0.1, 0.9, 7)), -1).reshape(-1, 2)
TASKS = TaskSet(range(len(PLACES))).shuffle(seed=0).split(validation=0.15, test=0.15)
MOVES = 0.1 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])


class Point(TaskWorld):
    """Real positions, five moves, reward 1 near the hidden place; ``ends`` ends the episode there."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "render_fps": 4}
    state_arrays = ("task", "position")

    def __init__(self, num_envs=1, split="all", tasks=None, ends=False):
        super().__init__(num_envs, TASKS, split, tasks)
        self.observation_space = spaces.Box(0.0, 1.0, (2,), dtype=np.float32)
        self.action_space = spaces.Discrete(5)
        self.position, self.ends = np.zeros((num_envs, 2)), ends

    def read_tasks(self, rows):
        """The number of the task is all there is."""

    def start_episodes(self, rows, streams):
        """In the middle."""
        self.position[rows] = 0.5

    def step(self, actions, streams):
        """Move, and look whether the place is near."""
        self.position = np.clip(self.position + MOVES[actions], 0, 1)
        near = np.linalg.norm(self.position - PLACES[self.task], axis=1) < 0.1
        return near.astype(float), near & self.ends

    def observe(self, rows):
        """The position."""
        return self.position[rows].astype(np.float32)


class Plain(gym.Env):
    """What a user of Gymnasium has."""

    observation_space, action_space = spaces.Box(0.0, 1.0, (2,), np.float32), spaces.Discrete(5)

    def reset(self, seed=None, options=None):
        """Nothing happens."""
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        """Nothing happens."""
        return np.zeros(2, np.float32), 0.0, False, False, {}


class Shifted(Point):
    """Its actions are 1 to 5."""

    def __init__(self, num_envs=1, split="all", tasks=None):
        super().__init__(num_envs, split, tasks)
        self.action_space = spaces.Discrete(5, start=1)


def _register(name, world, **more):
    batch = {"entry_point": "envs.batch:SingleEnv", "vector_entry_point": "envs.batch:BatchEnv"}
    gym.register(f"toys/{name}-v0", **batch, kwargs={"world": f"{__name__}:{world}"}, **more)


if "toys/Point-v0" not in gym.registry:
    _register("Point", "Point", max_episode_steps=20)
    _register("Endless", "Point")
    _register("Shifted", "Shifted", max_episode_steps=20)
    gym.register("toys/Plain-v0", entry_point=Plain, max_episode_steps=20)
