"""The numbers that are followed during training: exact where attention is known."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.in_context.model import InContextModel, Steps
from rl_suite.distillation.attention.probe import attention_values, query_attention

B, T = 3, 9


def make_steps():
    rng = np.random.default_rng(0)
    reward = torch.zeros(B, T)
    reward[:, 2] = reward[:, -1] = 1.0  # one of eight context steps; the query's own does not count
    observation = torch.as_tensor(rng.integers(1, 4, (B, T, 2)))
    observation[:, :3], observation[:, -1] = 0, 0  # three context steps stand where the query stands
    nothing = torch.zeros(B, T, dtype=torch.long)
    return Steps(observation, nothing, reward, nothing.bool(), nothing, nothing)


def make_model(**kwargs):
    torch.manual_seed(0)
    rooms = spaces.MultiDiscrete([4, 4]), spaces.Discrete(3)
    return InContextModel(*rooms, width=16, n_layers=2, n_heads=2, feedforward=32, **kwargs)


@pytest.mark.parametrize("kwargs", [{}, {"layout": "decisions", "positions": "none"}])
def test_a_model_that_cannot_choose_looks_everywhere_alike(kwargs):
    model = make_model(**kwargs)
    for block in model.transformer.blocks:
        torch.nn.init.zeros_(block.qkv.weight)
    values = attention_values(model, make_steps())
    assert len(values) == 2 * 2 * 2 + 1 + 5
    for layer in range(2):
        for head in range(2):
            assert values[f"attention/entropy/layer{layer}_head{head}"] == pytest.approx(1.0, abs=1e-5)
            assert values[f"attention/rewarded/layer{layer}_head{head}"] == pytest.approx(1 / 8, abs=1e-6)
    assert values["attention/rewarded_steps"] == pytest.approx(1 / 8)
    assert values["attention/same_state"] == pytest.approx(3 / 8, abs=1e-6)
    assert values["attention/sink"] == pytest.approx(4 / 8, abs=1e-6)
    assert values["attention/recency"] == pytest.approx(0.0, abs=1e-5)
    assert values["attention/effective"] == 8


@pytest.mark.parametrize("kwargs", [{}, {"layout": "decisions", "positions": "none"}])
def test_rows_of_queries_sum_to_one(kwargs):
    weights = query_attention(make_model(**kwargs), make_steps(), torch.tensor([3, T - 1]))
    assert weights.shape == (2, B, 2, 2, T)
    np.testing.assert_allclose(weights[:, :, :, -1].sum(-1), 1.0, atol=1e-6)
