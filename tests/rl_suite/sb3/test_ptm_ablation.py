import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from agents.actor_critic import HybridActorCritic
from rl_suite.errors import UserError
from rl_suite.evaluation.evaluate import EvaluationSpec
from rl_suite.sb3.ptm_ablation import PTMAblation, ablate_ptms
from rl_suite.vec_env import make_vec_env

CNN = {"model_type": "graph_cnn", "options": {"width": 4}}
OPTIONS = {"action_mode": "delete_ratio"}


def model(ptms):
    torch.set_num_threads(1)
    kwargs = {"encoder": "features", "hidden_dim": 16, "use_wsa": True, "ptms": ptms}
    env = make_vec_env("rl_suite/Durotaxis-v0", 2, **OPTIONS)
    kwargs["wsa_config"] = {"embedding_dim": 8, "context_dim": 8}
    return PPO(HybridActorCritic, env, n_steps=8, batch_size=16, policy_kwargs=kwargs, seed=0, device="cpu")


def test_each_model_is_left_out_and_put_back():
    trained = model([CNN, CNN])
    spec = EvaluationSpec("rl_suite/Durotaxis-v0", OPTIONS, n_tasks=2, episodes_per_task=1, max_episode_steps=10)
    result = ablate_ptms(trained, trained, spec)
    assert list(result.without) == ["graph_cnn_0", "graph_cnn_1"]
    assert trained.policy.multi_ptm.active.all()
    assert "graph_cnn_1" in [str(cell) for cell in result.table().columns[0].cells]


def test_the_change_is_without_minus_whole():
    whole = np.array([[1.0], [3.0], [5.0]])
    result = PTMAblation(whole, {"a": whole - 2.0}, 200, 0.95, 0)
    assert tuple(result.change("a")) == pytest.approx((-2.0, -2.0, -2.0))


def test_a_single_model_cannot_be_left_out():
    trained = model([CNN])
    with pytest.raises(UserError, match="at least two"):
        ablate_ptms(trained, trained, EvaluationSpec("rl_suite/Durotaxis-v0", OPTIONS))
