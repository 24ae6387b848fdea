"""Planners learn unknown tools within one trial; planning and learning by hand."""

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  # registers the worlds
from agents.tool_planner import FORGET, HORIZON, ToolLinUCB, ToolSlidingWindowUCB, ToolThompson, Workflow
from rl_suite.errors import UserError
from rl_suite.evaluation.baselines import make_baseline
from rl_suite.evaluation.evaluate import EvaluationSpec

KINDS = (ToolLinUCB, ToolThompson, ToolSlidingWindowUCB)
PLAIN = Workflow(np.array([0, 1, 0]), np.array([1, 2, 2]), 2, 1)  # two stages with one tool each, and the shortcut


def played(kind, n=48, calls=100):
    """Mean returns of an agent, of allowed calls at random and of the oracle, on tools of the test split."""
    env = gym.make_vec("rl_suite/ToolUseTrial-v0", num_envs=n, split="test")
    world = env.unwrapped.world.inner
    tools, settings = world.tools, world.settings
    returns, rng = [], np.random.default_rng(0)
    for agent in (kind(Workflow(tools.needs, tools.gives, settings.stages, settings.job_types)), None):
        seen, _ = env.reset(seed=0)
        state, total = None, np.zeros(n)
        for _ in range(calls):
            if agent is None:
                masks = world.action_masks()
                actions = (rng.random(masks.shape) * masks).argmax(axis=1)
            else:
                actions, state = agent.predict(seen, state)
            seen, rewards, _, _, infos = env.step(actions)
            total += rewards
        returns.append(total.mean())
    return *returns, infos["final_info"]["optimal_return"].mean()


@pytest.mark.parametrize("kind", KINDS)
def test_planners_learn_within_a_trial(kind):
    ours, random, best = played(kind)
    assert ours - random > 0.3 * (best - random)


def seen(stage, action=3, reward=0.0, done=0):
    return {
        "observation": np.array([[stage, 0]]),
        "previous_action": np.array([action]),
        "previous_reward": np.array([[reward]], np.float32),
        "previous_done": np.array([[done]], np.int8),
    }


def test_what_was_earned_is_taken_apart_into_price_and_quality():
    agent = ToolLinUCB(PLAIN)
    _, memory = agent.predict(seen(0))
    assert not memory.products.any()
    _, memory = agent.predict(seen(0, action=0, reward=-0.2), memory)  # a failure costs its price
    assert memory.price[0, 0] == pytest.approx((0.1 + 0.2) / 2)
    before = agent.expected(memory)[0, 0, 0]
    _, memory = agent.predict(seen(1, action=0, reward=0.25), memory)  # half a job of quality .8
    assert memory.quality[0, 0] == pytest.approx(0.8)
    assert agent.expected(memory)[0, 0, 0] > before
    assert memory.calls[0, -2:].tolist() == [[0, 0, 0], [0, 0, 1]]
    kept = memory.products.copy()
    agent.predict(seen(0, action=1, reward=0.3, done=1), memory)
    assert memory.products == pytest.approx(FORGET * kept), "after the end of an episode nobody knows"
    _, memory = agent.predict(seen(0), memory, episode_start=np.array([True]))
    assert not memory.products.any()


@pytest.mark.parametrize("kind", KINDS)
def test_only_tools_that_can_succeed_are_called(kind):
    agent = kind(PLAIN)
    for stage, allowed in ((0, {0, 2}), (1, {1, 2})):
        actions = {int(agent.predict(seen(stage), None)[0][0]) for _ in range(5)}
        assert actions <= allowed


def test_the_plan_by_hand():
    """Only the shortcut is good: over 30 calls it earns .9 * .8 - .1 each."""
    agent = ToolLinUCB(PLAIN)
    memory = agent.start(1)
    chance = np.array([[[0.02], [0.02], [0.9]]])
    assert agent.plan(memory, chance)[0, 2] == pytest.approx(HORIZON * (0.9 * 0.8 - 0.1))


def test_as_baselines():
    spec = EvaluationSpec("rl_suite/ToolUseTrial-v0", n_tasks=2, episodes_per_task=1)
    assert isinstance(make_baseline("tool_thompson", spec), ToolThompson)
    with pytest.raises(UserError, match="cannot act in rl_suite/BernoulliBanditTrial-v0: it plans in trials of"):
        make_baseline("tool_linucb", EvaluationSpec("rl_suite/BernoulliBanditTrial-v0", n_tasks=2, episodes_per_task=1))
    with pytest.raises(ValueError, match="learns from a trial's observation"):
        ToolLinUCB(PLAIN).predict(np.zeros((1, 2)))
