"""Tools: prices and gains by hand, the plan against brute force and against play, drift, prerequisites."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from envs.tools import ToolUse
from rl_suite.vec_env import make_vec_env

ID = "rl_suite/ToolUse-v0"


def plain_world(num_envs=1, **options):
    """Two stages with one tool each and the shortcut; nothing drifts, every number is round."""
    world = ToolUse(num_envs, stages=2, alternatives=1, job_types=1, drift=0.0, latency_price=0.0, **options)
    world.sample_tasks(world.all_rows, np.zeros(num_envs, np.uint64), {})
    world.tools.chance[...] = np.array([0.5, 0.8, 0.25])[:, None]
    world.tools.cost[...], world.tools.quality[...] = [0.1, 0.2, 0.3], [1.0, 0.6, 1.0]
    world.start_episodes(world.all_rows, np.zeros(num_envs, np.uint64))
    return world


def test_values_of_the_last_two_calls_by_hand():
    """Last call, from stage 0: first tool -.1 + .5 / 2, shortcut -.3 + .25; from stage 1: second tool -.2 + .8 * .3."""
    world = plain_world(calls=2)
    assert world.values[0, 1, :, 0] == pytest.approx([0.15, 0.04])
    assert world.call_values()[0] == pytest.approx(
        [-0.1 + 0.5 * (0.5 + 0.04) + 0.5 * 0.15, -0.2 + 0.15, -0.3 + 0.25 + 0.15]
    )
    assert world.values[0, 0, 0, 0] == pytest.approx(0.245)
    assert world.expected[0] == pytest.approx([0.0, 0.15, 0.245])


def test_the_plan_is_the_best_of_all_policies():
    """Every deterministic policy over (call, stage) of three calls, evaluated by hand."""
    world = plain_world(calls=3)
    needs, gives = world.tools.needs, world.tools.gives
    chance, cost, quality = world.tools.chance[0, :, 0], world.tools.cost[0], world.tools.quality[0]

    def worth(policy, t=0, stage=0):
        if t == 3:
            return 0.0
        tool = policy[2 * t + stage]
        stay = worth(policy, t + 1, stage) - cost[tool]
        if needs[tool] > stage or gives[tool] <= stage:
            return stay
        after = worth(policy, t + 1, gives[tool] % 2) - cost[tool] + quality[tool] * (gives[tool] - stage) / 2
        return (1 - chance[tool]) * stay + chance[tool] * after

    best = max(worth(policy) for policy in itertools.product(range(3), repeat=6))
    assert world.values[0, 0, 0, 0] == pytest.approx(best)


def test_calls_do_what_they_cost():
    world = plain_world(4000, calls=10)
    streams = np.arange(4000, dtype=np.uint64)
    assert world.action_masks()[0].tolist() == [True, False, True]
    rewards, terminated = world.step(np.full(4000, 1), streams)  # its stage is not reached
    assert not terminated.any()
    assert not world.success.any()
    assert rewards == pytest.approx(np.full(4000, -0.2))
    rewards, _ = world.step(np.full(4000, 0), streams)
    assert world.success.mean() == pytest.approx(0.5, abs=0.04)
    assert rewards == pytest.approx(np.where(world.success, 0.4, -0.1))
    assert world.stage.tolist() == world.success.astype(int).tolist()
    assert world.action_masks()[world.stage == 1][0].tolist() == [False, True, True]
    rewards, _ = world.step(np.full(4000, 2), streams)
    done = world.success
    assert done.mean() == pytest.approx(0.25, abs=0.04)
    assert (world.jobs == done).all()
    assert not world.stage[done].any()


@pytest.mark.parametrize("drift", [0.0, 0.4])
def test_the_oracle_earns_what_the_plan_promises(drift):
    env = gym.make_vec(ID, num_envs=3000, drift=drift, calls=30, max_episode_steps=30, split="test")
    env.reset(seed=0)
    world, total = env.unwrapped.world, np.zeros(3000)
    for _ in range(30):
        total += (step := env.step(world.call_values().argmax(axis=1)))[1]
    final = step[4]["final_info"]
    assert not final["cumulative_regret"].any()
    error = (total - final["optimal_return"]).std() / np.sqrt(3000)
    assert abs((total - final["optimal_return"]).mean()) < 4 * error


def test_regret_is_what_others_miss():
    env = gym.make_vec(ID, num_envs=3000, calls=30, max_episode_steps=30)
    env.reset(seed=1)
    total, rng = np.zeros(3000), np.random.default_rng(0)
    for _ in range(30):
        total += (step := env.step(rng.integers(7, size=3000)))[1]
    gap = step[4]["final_info"]["optimal_return"] - total - step[4]["final_info"]["cumulative_regret"]
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(3000)
    assert step[4]["final_info"]["cumulative_regret"].min() > 0


def test_chances_drift_and_the_best_tool_changes():
    env = gym.make_vec(ID, num_envs=200, max_episode_steps=-1, calls=50)
    env.reset(seed=0)
    world, chances, best = env.unwrapped.world, [], []
    for _ in range(120):  # longer than two plans
        world.stage[...] = world.job[...] = 0
        best.append(world.call_values().argmax(axis=1))
        chances.append(world.chances(world.all_rows))
        env.step(np.full(200, 1))
    assert 0.1 < (best[0] != best[110]).mean() < 0.9
    assert 0.1 < np.abs(chances[0] - chances[60]).max() <= 0.5
    still = gym.make_vec(ID, num_envs=20, drift=0.0)
    still.reset(seed=0)
    before = still.unwrapped.world.tools.chance.copy()
    for _ in range(20):
        still.step(np.full(20, 1))
    assert np.array_equal(before, still.unwrapped.world.tools.chance)


def test_tools_follow_from_the_task_and_drift_on_through_a_trial():
    trial = gym.make_vec("rl_suite/ToolUseTrial-v0", num_envs=2, episode_steps=5, episodes_per_trial=2)
    trial.reset(seed=3, options={"task": [7, 2**39]})
    alone = gym.make(ID)
    alone.reset(seed=0, options={"task": 2**39})
    inner = trial.unwrapped.world.inner
    for ours, theirs in zip(inner.tools[2:], alone.unwrapped.world.tools[2:], strict=True):
        assert np.array_equal(ours[1], theirs[0])
    for _ in range(5):
        trial.step(np.zeros(2, np.int64))
    assert inner.clock.tolist() == [5, 5]
    assert not inner.jobs.any()
    assert not inner.calls_of.any()


def test_a_planner_sees_all_it_needs():
    env = gym.make(ID, show_tools=True, stages=2, alternatives=1, job_types=2)
    seen, _ = env.reset(seed=0)
    world = env.unwrapped.world
    assert seen[:2].tolist() == [1, 0]
    assert seen[2:4].sum() == 1
    assert seen[4 + 1] == 0, "the second stage's tool cannot succeed yet"
    assert seen[7:10] == pytest.approx(world.prices(np.array([0]))[0])
    assert seen[10] == pytest.approx(world.tools.quality[0, 0] / 2)
    assert seen[12] == pytest.approx(world.tools.quality[0, 2])


def test_a_plan_that_does_not_fit_is_refused():
    for options in ({"stages": 0}, {"alternatives": 0}, {"job_types": 0}, {"calls": 0}):
        with pytest.raises(ValueError, match="must be a whole number from 1"):
            ToolUse(**options)
    for options in ({"calls": 2**20}, {"alternatives": 2**20}):
        with pytest.raises(ValueError, match="too much to plan"):
            ToolUse(**options)
    for options in ({"drift": 0.6}, {"drift": float("nan")}, {"latency_price": -0.1}):
        with pytest.raises(ValueError, match="must lie between 0 and"):
            ToolUse(**options)
    env = gym.make_vec(ID, num_envs=2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action 7 of row 1"):
        env.step(np.array([0, 7]))


def test_text_says_what_was_called():
    env = gym.make(ID, render_mode="ansi", stages=1, alternatives=1)
    env.reset(seed=0, options={"task": 5})
    for _ in range(3):
        env.step(0)
    lines = env.render().splitlines()
    assert lines[0].split() == ["tool", "stages", "chance", "price", "calls", "successes"]
    assert lines[1].split()[:2] == ["0", "0>1"]
    assert lines[1].split()[4] == "3"
    assert f"{env.unwrapped.world.jobs[0]} jobs done" in lines[-1]


def test_ppo_learns_to_plan():
    """On tools that it never saw: more than half of the way from allowed calls at random to the oracle."""
    env = make_vec_env(ID, 64, show_tools=True, max_episode_steps=50, split="train")
    options = {"n_steps": 32, "batch_size": 512, "n_epochs": 6, "learning_rate": 2e-3, "gamma": 0.95}
    model = PPO("MlpPolicy", env, seed=0, device="cpu", **options).learn(20_000)
    test = gym.make_vec(ID, num_envs=128, show_tools=True, max_episode_steps=50, split="test")
    totals, rng = [], np.random.default_rng(0)
    for learnt in (False, True):
        seen, _ = test.reset(seed=0)
        total = np.zeros(128)
        for _ in range(50):
            masks = test.unwrapped.world.action_masks()
            chance = (rng.random(masks.shape) * masks).argmax(axis=1)
            seen, rewards, _, _, infos = test.step(model.predict(seen, deterministic=True)[0] if learnt else chance)
            total += rewards
        totals.append(total.mean())
    best = infos["final_info"]["optimal_return"].mean()
    assert totals[1] > 0.5 * (totals[0] + best)
