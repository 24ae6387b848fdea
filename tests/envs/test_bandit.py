"""Bandits: the arms follow from the task alone, rewards from the arms, regret from both."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  # registers the worlds
from envs.bandit import FIRST_TEST_TASK, AdversarialBandit, BernoulliBandit, GaussianBandit


def means_of(world: Any, tasks: list[int]) -> Any:
    return world.draw_means(np.array(tasks))


def test_arms_follow_from_the_task_alone() -> None:
    few, many = (gym.make_vec("rl_suite/BernoulliBandit-v0", num_envs=n) for n in (2, 9))
    few.reset(seed=0, options={"task": [5, 2**39]})
    many.reset(seed=77, options={"task": [1, 2, 3, 2**39, 4, 5, 6, 7, 8]})
    few_means: Any = few.unwrapped.world.means  # type: ignore[attr-defined]
    many_means: Any = many.unwrapped.world.means  # type: ignore[attr-defined]
    np.testing.assert_array_equal(few_means, many_means[[5, 3]])
    assert len(np.unique(many_means)) == 9 * 5


@pytest.mark.parametrize("world", [BernoulliBandit(), GaussianBandit()])
def test_means_are_uniform(world: Any) -> None:
    means = means_of(world, list(range(20_000)))
    assert means.shape == (20_000, 5)
    for arm in range(5):
        counts = np.histogram(means[:, arm], bins=10, range=(0, 1))[0]
        assert abs(counts - 2000).max() < 6 * np.sqrt(2000)
    assert abs(np.corrcoef(means.T) - np.eye(5)).max() < 0.03, "the arms are independent"


@pytest.mark.parametrize(("env_id", "std"), [("BernoulliBandit", None), ("GaussianBandit", 0.3)])
def test_rewards_have_the_arms_distribution(env_id: str, std: float | None) -> None:
    env = gym.make_vec(f"rl_suite/{env_id}-v0", num_envs=40_000, max_episode_steps=-1)
    env.reset(seed=0, options={"task": 3})
    mean = env.unwrapped.world.means[0, 2]  # type: ignore[attr-defined]
    rewards = env.step(np.full(40_000, 2))[1]
    spread = np.sqrt(mean * (1 - mean)) if std is None else std
    assert abs(rewards.mean() - mean) < 5 * spread / 200
    assert abs(rewards.std() - spread) < 0.01
    if std is None:
        assert set(rewards.tolist()) == {0.0, 1.0}


def test_regret_and_oracle_by_hand() -> None:
    env = gym.make("rl_suite/BernoulliBandit-v0", arms=3, show_means=True)
    means, info = env.reset(seed=0, options={"task": 11})
    assert means.shape == (3,)
    assert means.dtype == np.float32
    world: Any = env.unwrapped.world  # type: ignore[attr-defined]
    best = int(means.argmax())
    assert info["oracle_arm"] == best
    assert info["optimal_return"] == info["cumulative_regret"] == 0
    arms = [0, 1, 2, best]
    infos = [env.step(arm)[4] for arm in arms]
    gaps = world.means[0].max() - world.means[0][arms]
    np.testing.assert_allclose([info["regret"] for info in infos], gaps)
    np.testing.assert_allclose([info["cumulative_regret"] for info in infos], np.cumsum(gaps))
    np.testing.assert_allclose([info["optimal_return"] for info in infos], world.means[0].max() * np.arange(1, 5))
    assert infos[-1]["regret"] == 0


def test_paying_arms_are_odd_in_training_and_even_in_test() -> None:
    world = AdversarialBandit()
    training, test = np.arange(10_000), FIRST_TEST_TASK + np.arange(10_000)
    for tasks, share_of_odd in ((training, 0.95), (test, 0.05)):
        means = world.draw_means(tasks)
        odd, even = means[:, 1::2], means[:, ::2]
        odd_pays = (odd > 0.5).all(axis=1) & (even < 0.5).all(axis=1)
        even_pays = (even > 0.5).all(axis=1) & (odd < 0.5).all(axis=1)
        assert (odd_pays ^ even_pays).all()
        assert abs(odd_pays.mean() - share_of_odd) < 0.01
    assert AdversarialBandit(split="test").tasks[0] == FIRST_TEST_TASK
    assert AdversarialBandit(split="train+validation").tasks[-1] == FIRST_TEST_TASK - 1


def test_it_can_be_looked_at() -> None:
    env = gym.make("rl_suite/BernoulliBandit-v0", arms=2, render_mode="ansi")
    env.reset(seed=0, options={"task": 1})
    env.step(1)
    lines: Any = env.render()
    assert lines.splitlines()[0] == "arm  mean   earned  pulls"
    assert lines.splitlines()[1].endswith("-       0 ")
    assert lines.splitlines()[2].endswith(" 1 #")


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="arms must be a whole number from 2"):
        BernoulliBandit(arms=1)
    with pytest.raises(ValueError, match="reward_std must not be negative"):
        GaussianBandit(reward_std=-0.1)
    env = gym.make("rl_suite/GaussianBandit-v0")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action 5 of row 0 is not one of"):
        env.unwrapped.step(5)
