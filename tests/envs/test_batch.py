"""The two faces of a world, where they differ from each other and from what a user might get wrong."""

import json
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from envs.batch import BatchEnv, SingleEnv
from envs.world import World, make_world


class Ticker(World):
    """Ends itself when its clock reaches 3; the reward is the clock; fast rows start later."""

    reset_options = ("clock",)
    state_arrays = ("clock",)
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}

    def __init__(self, num_envs: int = 1, step_size: int = 1):
        super().__init__(num_envs)
        self.step_size = step_size
        self.observation_space = spaces.Dict({"clock": spaces.Box(0, 9, (1,), dtype=np.float32)})
        self.action_space = spaces.MultiDiscrete([2, 3])
        self.clock = np.zeros(num_envs, dtype=np.int64)

    def state_bounds(self) -> Any:
        return {"clock": (0, 99)}

    def sample_tasks(self, rows: Any, streams: Any, options: Any) -> None:
        self.clock[rows] = options.get("clock", 0)

    def start_episodes(self, rows: Any, streams: Any) -> None:
        pass

    def step(self, actions: Any, streams: Any) -> Any:
        self.clock += self.step_size * actions[:, 0]
        return self.clock.astype(np.float64), self.clock >= 3

    def observe(self, rows: Any) -> Any:
        return {"clock": self.clock[rows, None].astype(np.float32)}

    def info(self, rows: Any) -> Any:
        return {"clock": self.clock[rows], "pair": np.stack([self.clock[rows]] * 2, axis=1)}


GO, WAIT = [1, 0], [0, 0]


def test_rows_end_apart() -> None:
    """Row 0 ends itself after three steps, row 1 waits until it is truncated after four."""
    env = BatchEnv(Ticker, num_envs=2, max_episode_steps=4)
    env.reset(seed=0)
    seen = []
    for turn in range(4):
        observation, rewards, terminated, truncated, infos = env.step(np.array([GO, WAIT]))
        seen.append((observation["clock"][:, 0].tolist(), rewards.tolist(), terminated.tolist(), truncated.tolist()))
        if turn == 2:
            assert infos["final_obs"][0]["clock"].tolist() == [3]
            assert infos["final_obs"][1] is None
            assert infos["_final_obs"].tolist() == [True, False]
            assert infos["final_info"]["clock"][0] == 3
            assert infos["final_info"]["_clock"].tolist() == [True, False]
            assert infos["clock"].tolist() == [0, 0], "already of the next episode"
            assert infos["pair"].tolist() == [[0, 0], [0, 0]]
    assert seen == [
        ([1, 0], [1, 0], [False, False], [False, False]),
        ([2, 0], [2, 0], [False, False], [False, False]),
        ([0, 0], [3, 0], [True, False], [False, False]),
        ([1, 0], [1, 0], [False, False], [False, True]),
    ]


def test_minus_one_lifts_the_limit() -> None:
    env = BatchEnv(Ticker, num_envs=1, max_episode_steps=-1)
    env.reset(seed=0)
    assert not any(env.step(np.array([WAIT]))[3].any() for _ in range(50))


def test_options_reach_the_world() -> None:
    env = SingleEnv(Ticker, step_size=2)
    observation, info = env.reset(options={"clock": 1})
    assert observation["clock"].tolist() == [1]
    assert info["clock"] == 1
    assert type(info["clock"]) is int
    assert info["pair"].tolist() == [1, 1]
    _, reward, terminated, truncated, _ = env.step(np.array(GO))
    assert (reward, terminated, truncated) == (3.0, True, False)
    assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)


def test_masks_allow_everything_by_default() -> None:
    assert BatchEnv(Ticker, num_envs=3).action_masks().tolist() == [[True] * 5] * 3
    assert SingleEnv(Ticker).action_masks().tolist() == [True] * 5
    world = Ticker()
    world.action_space = spaces.Box(-1, 1, (2,))  # type: ignore[assignment]
    with pytest.raises(TypeError, match="no discrete actions to mask"):
        world.action_masks()


def test_reset_without_seed_differs_and_continues() -> None:
    """Two environments without a seed differ; after a seed, resets without one continue its stream."""
    one, two = (gym.make_vec("envs:rl_suite/DarkKeyToDoor-v0", num_envs=64) for _ in range(2))
    assert not np.array_equal(one.reset()[0], two.reset()[0])
    first, second = one.reset(seed=1)[0], one.reset()[0]
    assert not np.array_equal(first, second)
    assert np.array_equal(two.reset(seed=1)[0], first)
    assert np.array_equal(two.reset()[0], second)


def test_seeds_of_some_rows() -> None:
    env = gym.make_vec("envs:rl_suite/DarkKeyToDoor-v0", num_envs=64)
    seeds = [5, *[None] * 63]
    cells = env.reset(seed=seeds)[0]  # type: ignore[arg-type]
    assert np.array_equal(cells[0], gym.make("rl_suite/DarkKeyToDoor-v0").reset(seed=5)[0])
    assert len(np.unique(cells[1:], axis=0)) > 20, "rows without a seed are random, and not all alike"
    with pytest.raises(ValueError, match="2 seeds were given for 64 environments"):
        env.reset(seed=[1, 2])


def test_generator_state_is_plain() -> None:
    env: Any = gym.make("envs:rl_suite/DarkRoom-v0").unwrapped
    env.reset(seed=0)
    assert json.loads(json.dumps(env.get_state()["generator"])) == env.get_state()["generator"]


def test_mistakes_are_explained() -> None:
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        BatchEnv(Ticker, num_envs=0)
    env = BatchEnv(Ticker, num_envs=2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions must have 2 rows"):
        env.step(np.array([GO]))
    with pytest.raises(ValueError, match=r"render_mode must be one of \['ansi'\]"):
        SingleEnv(Ticker, render_mode="rgb_array")
    with pytest.raises(ValueError, match="cannot render 'ansi'"):
        SingleEnv(Ticker, render_mode="ansi").render()
    for mask in ([True, False], np.array([1, 0]), np.array([True])):
        with pytest.raises(ValueError, match="reset_mask must be 2 bools"):
            env.reset(options={"reset_mask": mask if isinstance(mask, np.ndarray) else np.array([False, False])})
    assert isinstance(make_world("envs.gridworld:DarkRoom", 2), World)


def test_a_batch_asks_for_reset_before_the_first_step() -> None:
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        gym.make_vec("rl_suite/DarkRoom-v0", num_envs=2).step(np.array([0, 1]))
