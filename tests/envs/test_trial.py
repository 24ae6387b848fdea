"""Trials: the task stays, the episodes change, and the observation tells what just happened."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import envs  # noqa: F401  # registers the worlds
from envs.trial import Trial
from envs.world import World

RIGHT, LEFT, STAY = 2, 3, 4


class Countdown(World):
    """Ends itself after three steps; takes two continuous values; sees how many steps are left."""

    state_arrays = ("left",)

    def __init__(self, num_envs: int = 1):
        super().__init__(num_envs)
        self.observation_space = spaces.Dict({"left": spaces.Box(0, 3, (1,), dtype=np.float32)})
        self.action_space = spaces.Box(-1, 1, (2,), dtype=np.float32)
        self.left = np.zeros(num_envs, dtype=np.int64)

    def state_bounds(self) -> Any:
        return {"left": (0, 3)}

    def sample_tasks(self, rows: Any, streams: Any, options: Any) -> None:
        pass

    def start_episodes(self, rows: Any, streams: Any) -> None:
        self.left[rows] = 3

    def step(self, actions: Any, streams: Any) -> Any:
        self.left -= 1
        return actions[:, 0].astype(np.float64), self.left == 0

    def observe(self, rows: Any) -> Any:
        return {"left": self.left[rows, None].astype(np.float32)}


def flat(observation: dict[str, Any]) -> list[Any]:
    """Observation, previous action, reward and done as one list."""
    names = ("observation", "previous_action", "previous_reward", "previous_done")
    return [observation[name].tolist() for name in names]


def test_two_episodes_by_hand() -> None:
    env = gym.make("rl_suite/DarkRoomTrial-v0", episode_steps=3, episodes_per_trial=2)
    goal = 4 * 9 + 5
    observation, info = env.reset(seed=0, options={"task": goal})
    assert flat(observation) == [[4, 4], 5, [0.0], [0]], "action 5 of 5: none yet"
    assert (info["episode_index"], info["episode_return"], info["episode_done"]) == (0, 0, False)
    steps = [env.step(action) for action in (LEFT, RIGHT, RIGHT, RIGHT, STAY, STAY)]
    assert [flat(step[0]) for step in steps] == [
        [[4, 3], LEFT, [0.0], [0]],
        [[4, 4], RIGHT, [0.0], [0]],
        [[4, 4], RIGHT, [1.0], [1]],  # the goal was reached, and the next episode has begun
        [[4, 5], RIGHT, [1.0], [0]],
        [[4, 5], STAY, [1.0], [0]],
        [[4, 5], STAY, [1.0], [1]],
    ]
    assert [step[1] for step in steps] == [0, 0, 1, 1, 1, 1]
    assert [step[2] for step in steps] == [False] * 5 + [True]
    assert not any(step[3] for step in steps)
    infos = [step[4] for step in steps]
    assert [info["task"] for info in infos] == [goal] * 6
    assert [info["episode_index"] for info in infos] == [0, 0, 0, 1, 1, 1]
    assert [info["episode_return"] for info in infos] == [0, 0, 1, 1, 2, 3]
    assert [info["episode_done"] for info in infos] == [False, False, True] * 2
    assert [info["episode_optimal_return"] for info in infos] == [1, 2, 3, 1, 2, 3]
    assert [info["optimal_return"] for info in infos] == [1, 2, 3, 4, 5, 6]


def test_the_task_stays_during_a_trial_and_changes_after_it() -> None:
    env = gym.make_vec("rl_suite/DarkKeyToDoorTrial-v0", num_envs=64, episode_steps=4, episodes_per_trial=3)
    tasks = [env.reset(seed=0)[1]["task"]]
    starts = [env.reset(seed=0)[0]["observation"]]
    for step in range(1, 13):
        observation, _, terminated, _, infos = env.step(np.full(64, STAY))
        tasks.append(infos["task"])
        assert terminated.all() == (step == 12)
        if step % 4 == 0:
            starts.append(observation["observation"])
    assert all((task == tasks[0]).all() for task in tasks[:12])
    assert (tasks[12] != tasks[0]).mean() > 0.9
    assert (infos["final_info"]["task"] == tasks[0]).all()
    assert (starts[0] != starts[1]).any(axis=1).mean() > 0.9, "every episode starts somewhere else"


def test_continuous_actions_dictionaries_and_early_ends() -> None:
    world = Trial(num_envs=2, inner=Countdown, episode_steps=9, episodes_per_trial=2)
    assert set(world.observation_space.spaces) == {"left", "previous_action", "previous_reward", "previous_done"}  # type: ignore[attr-defined]
    streams = np.zeros(2, dtype=np.uint64)
    world.sample_tasks(world.all_rows, streams, {})
    world.start_episodes(world.all_rows, streams)
    assert world.observe(world.all_rows)["previous_action"].tolist() == [[0, 0], [0, 0]]  # type: ignore[call-overload]
    ends = []
    for turn in range(6):
        actions = np.array([[0.5, turn / 8], [-0.5, 0.0]], dtype=np.float32)
        rewards, terminated = world.step(actions, streams)
        seen: Any = world.observe(world.all_rows)
        assert seen["previous_action"].tolist() == actions.tolist()
        assert seen["previous_reward"][:, 0].tolist() == rewards.tolist() == [0.5, -0.5]
        ends.append((seen["previous_done"][0, 0], terminated[0], seen["left"][0, 0]))
    assert ends == [(0, 0, 2), (0, 0, 1), (1, 0, 3), (0, 0, 2), (0, 0, 1), (1, 1, 0)]
    assert world.returns.tolist() == [[1.5, 1.5], [-1.5, -1.5]]


def test_inner_options_pass_through() -> None:
    env = gym.make("rl_suite/DarkRoomTrial-v0", split="test", show_goal=True, episodes_per_trial=1)
    observation, info = env.reset(seed=0)
    assert len(observation["observation"]) == 4
    assert info["task"] in env.unwrapped.world.inner.tasks  # type: ignore[attr-defined]
    assert env.unwrapped.action_masks().tolist() == [True] * 5  # type: ignore[attr-defined]


def test_text_and_picture_show_the_returns() -> None:
    env = gym.make("rl_suite/DarkRoomTrial-v0", episode_steps=2, episodes_per_trial=3, render_mode="ansi")
    env.reset(seed=0, options={"task": 4 * 9 + 4})
    for _ in range(3):
        env.step(STAY)
    text: Any = env.render()
    assert text.splitlines()[-1] == "episode 2 of 3, returns 2 1"
    picture: Any = gym.make("rl_suite/DarkRoomTrial-v0", render_mode="rgb_array")
    picture.reset(seed=0)
    assert picture.render().shape == (264, 224, 3)
    alone: Any = gym.make("rl_suite/DarkRoomTrial-v0", episodes_per_trial=1, render_mode="rgb_array")
    alone.reset(seed=0)
    assert alone.render().shape == (224, 224, 3)


@pytest.mark.parametrize("options", [{"episode_steps": 0}, {"episodes_per_trial": 0}])
def test_empty_trials_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be a whole number from 1"):
        Trial(**options)


class Steps(World):
    """Takes choices and shows them, from a first one that need not be 0; rewards tell what was chosen."""

    state_arrays = ("chosen",)

    def __init__(self, num_envs: int = 1, start: int = 0, several: bool = False):
        super().__init__(num_envs)
        first = np.array([start, start - 2])
        self.action_space = spaces.MultiDiscrete([3, 2], start=first) if several else spaces.Discrete(3, start=start)
        self.observation_space = self.action_space
        self.chosen = np.tile(first, (num_envs, 1)) if several else np.full(num_envs, start)
        self.first = self.chosen.copy()

    def state_bounds(self) -> Any:
        return {"chosen": (-10, 10)}

    def sample_tasks(self, rows: Any, streams: Any, options: Any) -> None:
        pass

    def start_episodes(self, rows: Any, streams: Any) -> None:
        self.chosen[rows] = self.first[rows]

    def step(self, actions: Any, streams: Any) -> Any:
        self.chosen[...] = actions
        return np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=np.bool_)

    def observe(self, rows: Any) -> Any:
        return self.chosen[rows]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("start", [-3, 0, 1, 7])
def test_no_previous_action_is_none_of_the_actions(start: int, several: bool) -> None:
    trial = Trial(2, inner=Steps, start=start, several=several, episode_steps=50)
    trial.start_episodes(np.arange(2), None)  # type: ignore[arg-type]
    space = trial.observation_space["previous_action"]
    none = trial.observe(np.arange(2))["previous_action"]
    assert none[0] in space
    seen = set()
    for seed in range(30):
        trial.action_space.seed(seed)
        action = trial.action_space.sample()
        trial.step(np.stack([action, action]), None)  # type: ignore[arg-type]
        shown = trial.observe(np.arange(2))["previous_action"]
        assert np.array_equal(shown[0], action)
        assert shown[0] in space
        assert not (shown[0] == none[0]).any()
        seen.add(tuple(np.atleast_1d(shown[0])))
    assert len(seen) == (6 if several else 3)
    trial.set_state(trial.get_state())  # in its bounds
