"""Let a source act in N worlds at once and write down its learning histories."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.world import World
from rl_suite.distillation.histories import Histories, compact
from rl_suite.distillation.worlds import begin_tasks


class Source(Protocol):
    """What a source algorithm does, for N tasks at once."""

    def begin_episode(self) -> None:
        """A new episode starts in every world."""
        ...

    def act(self, observations: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Actions (N,), and labels (N,) or (N, A): what a student should do instead of, or like, it."""
        ...

    def learn(self, observations: NDArray[np.int64], rewards: NDArray[np.float64]) -> None:
        """What the last actions led to: observations (N, ...) and rewards (N,)."""
        ...


def roll_out(
    world: World,
    source: Source,
    tasks: NDArray[np.int64],
    n_episodes: int,
    episode_steps: int,
    rng: np.random.Generator,
    silent: NDArray[np.bool_] | None = None,
) -> Histories:
    """Learning histories of ``source`` on ``tasks`` (N,), ``n_episodes`` episodes each.

    ``silent`` (N,) marks histories in which no reward ever comes, as if there were no goal.
    """
    streams = begin_tasks(world, tasks, rng)
    n, length = world.num_envs, n_episodes * episode_steps
    first = np.zeros((n, length), dtype=np.bool_)
    first[:, ::episode_steps] = True
    actions = np.empty((n, length), dtype=np.int64)
    rewards = np.empty((n, length), dtype=np.float32)
    seen, seen_next, labels = [], [], []
    for t in range(length):
        if t % episode_steps == 0:
            world.start_episodes(world.all_rows, streams)
            source.begin_episode()
            now = look(world)
        chosen, label = source.act(now)
        reward, terminated = world.step(chosen, streams)
        if terminated.any():
            raise ValueError("learning histories need episodes of one length: this world terminates")
        if silent is not None:
            reward = np.where(silent, 0.0, reward)
        after = look(world)
        source.learn(after, reward)
        actions[:, t], rewards[:, t] = chosen, reward
        seen.append(now)
        seen_next.append(after)
        labels.append(label.astype(np.float16 if label.ndim == 2 else np.int16))
        now = after
    before, after = compact(np.stack(seen, 1)), compact(np.stack(seen_next, 1))
    return Histories(before, compact(actions), rewards, after, first, np.stack(labels, 1), tasks)


def look(world: World) -> NDArray[Any]:
    """What the agents see, (N, n): nothing (n = 0) where there is only one thing to see."""
    seen = np.asarray(world.observe(world.all_rows))
    if seen.ndim == 1:
        seen = seen[:, None][:, :0] if getattr(world.observation_space, "n", 0) == 1 else seen[:, None]
    return seen
