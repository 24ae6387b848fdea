"""Penalties on stock SB3 policies: their Fisher information, their gradients, and that they do what they promise."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.joined import JoinedVecEnv
from rl_suite.meta_learning.continual.policies import (
    ActionLogits,
    PolicyEWC,
    PolicyReplay,
    add_to_gradients,
    preprocessed,
)
from rl_suite.vec_env import make_vec_env

WORLD = "rl_suite/DarkRoom-v0"


def ppo(n_envs=4, env=None, **options):
    env = env or VecMonitor(make_vec_env(WORLD, n_envs, show_goal=True))
    return PPO("MlpPolicy", env, n_steps=20, batch_size=40, n_epochs=2, seed=0, device="cpu", **options)


def test_logits_are_those_of_the_policy():
    model = ppo()
    observations = model.env.reset()
    tensor, _ = model.policy.obs_to_tensor(observations)
    expected = model.policy.get_distribution(tensor).distribution.logits
    found = ActionLogits(model.policy)(preprocessed(model.policy, observations)).log_softmax(-1)
    assert torch.allclose(found, expected, atol=1e-6)


def test_importance_is_that_of_the_distribution_over_actions():
    model = ppo()
    memory = PolicyEWC(model.policy, strength=10.0)
    memory.consolidate(np.array([[4, 4, 0, 0], [1, 2, 8, 8]]))
    assert memory.penalty().item() == 0
    assert not any(name.startswith("value") for name in memory.ewc.importance)
    with torch.no_grad():
        model.policy.action_net.bias += 0.5
    expected = 5.0 * memory.ewc.importance["actions.bias"].sum() * 0.25
    assert memory.penalty().item() == pytest.approx(expected.item(), rel=1e-4)
    with torch.no_grad():
        for parameter in model.policy.value_net.parameters():
            parameter += 1.0  # what the critic thinks decides no action
    assert memory.penalty().item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_gradient_of_the_penalty_is_added_once_per_step():
    model = ppo()
    memory = PolicyEWC(model.policy, strength=10.0)
    memory.consolidate(np.array([[4, 4, 0, 0], [1, 2, 8, 8]]))
    with torch.no_grad():
        model.policy.action_net.bias += 0.5
    parameter = model.policy.action_net.bias
    (expected,) = torch.autograd.grad(memory.penalty(), parameter)
    optimizer = torch.optim.SGD(model.policy.parameters(), lr=0.0)
    handle = add_to_gradients(optimizer, memory.penalty)
    for parameter_ in model.policy.parameters():
        parameter_.grad = torch.ones_like(parameter_)
    optimizer.step()
    assert torch.allclose(parameter.grad, 1 + expected)
    handle.remove()
    optimizer.step()
    assert torch.allclose(parameter.grad, 1 + expected)


@pytest.mark.parametrize("make", [lambda p: PolicyEWC(p, 1e6), lambda p: PolicyReplay(p, 100.0, 100, 50, 0)])
def test_a_strong_penalty_keeps_the_policy(make):
    """Training goes on with noise for an advantage; only the held policy still answers as before."""
    torch.manual_seed(0)
    seen = np.random.default_rng(0).integers(0, 9, size=(100, 4))

    def moved(hold):
        model = ppo(learning_rate=3e-3)
        logits, x = ActionLogits(model.policy), preprocessed(model.policy, seen)
        before = logits(x).log_softmax(-1).detach()
        memory = make(model.policy)
        memory.consolidate(seen)
        assert memory.penalty().item() == pytest.approx(0, abs=1e-5)
        if hold:
            add_to_gradients(model.policy.optimizer, memory.penalty)
        model.learn(400)
        after = logits(x).log_softmax(-1)
        return (before.exp() * (before - after)).sum(-1).mean().item()

    assert moved(hold=True) < 0.5 * moved(hold=False)


def test_only_discrete_actions_and_plain_observations():
    model = ppo()
    model.policy.action_space = spaces.Box(-1, 1, (2,))
    with pytest.raises(UserError, match="Discrete"):
        PolicyEWC(model.policy, 1.0)


def test_joined_worlds_are_stepped_side_by_side():
    parts = [make_vec_env(WORLD, n, show_goal=True, goal=goal) for n, goal in ((2, (0, 0)), (3, (8, 8)))]
    env = JoinedVecEnv(parts)
    env.seed(3)
    first = env.reset()
    assert first[:, 2:].tolist() == [[0, 0]] * 2 + [[8, 8]] * 3
    observations, rewards, dones, infos = env.step(np.zeros(5, dtype=np.int64))
    assert observations.shape == (5, 4)
    assert len(rewards) == len(dones) == len(infos) == env.num_envs == 5
    assert env.get_attr("render_mode", [0, 4]) == [None, None]
    assert env.env_is_wrapped(VecMonitor) == [False] * 5
    ppo(env=VecMonitor(JoinedVecEnv([*parts[:1], make_vec_env(WORLD, 2, show_goal=True)]))).learn(80)
    with pytest.raises(UserError, match="same spaces"):
        JoinedVecEnv([parts[0], make_vec_env(WORLD, 1)])
