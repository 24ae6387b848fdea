"""The bandit whose contexts share a secret."""

import gymnasium as gym
import numpy as np
import pytest

from envs.cyclic_bandit import CyclicBandit

ID = "rl_suite/CyclicBandit-v0"


def test_which_arm_pays():
    """Task 23 of 6 arms has the shifts 5 and 3: 23 = 5 + 3 * 6."""
    env = gym.make_vec(ID, num_envs=400, max_episode_steps=1)
    contexts, _ = env.reset(seed=0, options={"task": 23})
    place, group = contexts // 2, contexts % 2
    best = (place + np.where(group == 0, 5, 3)) % 6
    _, rewards, _, truncated, infos = env.step(best)
    assert truncated.all()
    assert rewards.mean() == pytest.approx(0.9, abs=0.05)
    assert np.array_equal(infos["final_info"]["oracle_arm"], best)
    assert not infos["final_info"]["regret"].any()
    env.reset(seed=1, options={"task": 23})
    wrong = (env.unwrapped.world.best_arm(np.arange(400)) + 1) % 6
    _, rewards, _, _, infos = env.step(wrong)
    assert rewards.mean() == pytest.approx(0.1, abs=0.05)
    assert infos["final_info"]["regret"] == pytest.approx(np.full(400, 0.8))


def test_parts_share_no_combination_of_shifts():
    parts = [set(CyclicBandit(split=part).tasks) for part in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 36
    assert all(len(part) >= 4 for part in parts)


def test_it_can_be_looked_at():
    env = gym.make(ID, arms=3, groups=1, render_mode="ansi")
    context, _ = env.reset(seed=0, options={"task": 1})
    lines = env.render().splitlines()
    assert [line[4:7] for line in lines] == [".$.", "..$", "$.."]
    assert lines[context].endswith("<")
    picture = gym.make(ID, render_mode="rgb_array")
    picture.reset(seed=0)
    assert picture.render().shape[2] == 3


@pytest.mark.parametrize(
    "options", [{"arms": 1}, {"groups": 0}, {"arms": 40, "groups": 4}, {"pays": 0.5}, {"pays": 1.1}]
)
def test_impossible_bandits_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        CyclicBandit(**options)


def test_an_arm_that_is_not_there_is_refused():
    env = gym.make_vec(ID, num_envs=2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action 6 of row 1"):
        env.step(np.array([0, 6]))
