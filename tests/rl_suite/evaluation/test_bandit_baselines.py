"""Every bandit is played by everything that plays bandits, with the posterior that its rewards call for."""

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  registers the ids
from agents.tabular import GaussianThompsonSampling, ThompsonSampling
from rl_suite.distillation.sources.players import make_player
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.evaluation.baselines import make_baseline
from rl_suite.evaluation.evaluate import EvaluationSpec, evaluate_agent

BANDITS = sorted(name for name in gym.registry if name.startswith("rl_suite/") and name.endswith("BanditTrial-v0"))
KINDS = [name.replace("Trial", "") for name in BANDITS if "Cyclic" not in name]  # whose arms pay by their context


@pytest.mark.parametrize("name", ["random", "ucb1", "thompson"])
@pytest.mark.parametrize("env_id", BANDITS)
def test_every_bandit_has_its_baselines(env_id, name):
    spec = EvaluationSpec(env_id, n_tasks=2, episodes_per_task=1)
    result = evaluate_agent(make_baseline(name, spec), spec)
    assert np.isfinite(result.returns).all()


@pytest.mark.parametrize("env_id", KINDS)
def test_thompson_sampling_knows_how_arms_pay(env_id):
    spec = EvaluationSpec(env_id, n_tasks=2, episodes_per_task=1)
    wanted = GaussianThompsonSampling if "Gaussian" in env_id else ThompsonSampling
    assert type(make_baseline("thompson", spec)) is wanted
    assert type(make_player("thompson", TaskFamily.named(env_id, {}), None, 0)) is wanted


def test_rewards_without_noise_can_be_played():
    spec = EvaluationSpec("rl_suite/GaussianBanditTrial-v0", {"reward_std": 0.0}, n_tasks=8, episodes_per_task=1)
    chance = evaluate_agent(make_baseline("random", spec), spec).returns.mean()
    assert evaluate_agent(make_baseline("thompson", spec), spec).returns.mean() > chance + 10
