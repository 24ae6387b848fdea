"""Baselines: random is uniform and obeys masks; the oracles earn exactly what could be earned.

The rooms come from Gymnasium's registry; ``agents`` itself imports no world.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import envs  # noqa: F401  # registers the worlds
from agents.baselines import BanditOracle, RandomAgent, RoomOracle


def last_infos(env: Any, agent: Any, steps: int) -> tuple[Any, dict[str, Any]]:
    """Returns of all copies after one episode, and their last infos."""
    observation, _ = env.reset(seed=0)
    returns = np.zeros(env.num_envs)
    for _ in range(steps):
        observation, rewards, _, _, infos = env.step(agent.predict(observation)[0])
        returns += rewards
    return returns, infos["final_info"]


@pytest.mark.parametrize(
    ("env_id", "steps", "options"),
    [
        ("DarkRoom", 20, {}),
        ("DarkRoom", 20, {"permute_actions": True, "start": "random"}),
        ("DarkRoomHard", 20, {}),
        ("DarkRoomPermuted", 20, {}),
        ("DarkKeyToDoor", 50, {}),
        ("DarkKeyToDoor", 50, {"permute_actions": True}),
        ("DarkRoomTrial", 40, {"episodes_per_trial": 2}),
        ("DarkKeyToDoorTrial", 30, {"episode_steps": 15, "episodes_per_trial": 2}),
    ],
)
def test_room_oracle_earns_the_optimum(env_id: str, steps: int, options: dict[str, Any]) -> None:
    env = gym.make_vec(f"rl_suite/{env_id}-v0", num_envs=200, show_goal=True, **options)
    returns, infos = last_infos(env, RoomOracle(env.single_observation_space), steps)
    np.testing.assert_array_equal(returns, infos["optimal_return"])


@pytest.mark.parametrize("env_id", ["BernoulliBandit", "GaussianBanditTrial", "AdversarialBandit"])
def test_bandit_oracle_has_no_regret(env_id: str) -> None:
    env: Any = gym.make_vec(f"rl_suite/{env_id}-v0", num_envs=50, show_means=True)
    returns, infos = last_infos(env, BanditOracle(), 100 if env_id == "AdversarialBandit" else 200)
    assert infos["cumulative_regret"].max() == 0
    assert returns.mean() == pytest.approx(infos["optimal_return"].mean(), rel=0.02)


def test_oracles_need_to_see() -> None:
    with pytest.raises(ValueError, match="show_goal=True"):
        RoomOracle(gym.make("rl_suite/DarkRoom-v0").observation_space)
    with pytest.raises(ValueError, match="show_means=True"):
        BanditOracle().predict(np.zeros(3, dtype=np.int64))


def test_random_is_uniform_and_seeded() -> None:
    actions, state = RandomAgent(spaces.Discrete(4), seed=1).predict(np.zeros((4000, 2)))
    assert state is None
    assert np.bincount(actions).min() > 850
    again, other = (RandomAgent(spaces.Discrete(4), seed=seed).predict(np.zeros((4000, 2)))[0] for seed in (1, 2))
    assert np.array_equal(actions, again)
    assert not np.array_equal(actions, other)
    boxes = RandomAgent(spaces.Box(-1, 1, (3,)), seed=0).predict({"x": np.zeros((5, 1))})[0]
    assert boxes.shape == (5, 3)


def test_random_obeys_masks() -> None:
    mask = np.tile([[True, False, True, False]], (2000, 1))
    actions, _ = RandomAgent(spaces.Discrete(4), seed=0).predict({"action_mask": mask})
    assert set(actions.tolist()) == {0, 2}
    assert 900 < (actions == 0).sum() < 1100
