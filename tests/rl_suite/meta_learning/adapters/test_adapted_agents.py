"""Adapters in the suite's own agents: what is frozen is counted, and comes back."""

import math

import pytest

from rl_suite.benchmarks import Options, adapters, graph_encoder
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning import adapt_policy
from rl_suite.sb3.build import build_env, build_model


def test_a_policy_that_lists_only_what_is_trained_is_counted_whole_and_thawed_again():
    config = load_experiment(DEFAULT_CONFIG, ["experiment=durotaxis,smoke"])
    model = build_model(config, build_env(config, {}, config.env.n_envs))
    before = {name for name, _ in model.policy.named_parameters()}
    whole = sum(parameter.numel() for parameter in model.policy.parameters())
    adapted = adapt_policy(model, adapters.small_adapters())
    count = adapted.get_parameter_count()
    assert count["base"] == whole
    assert count["trainable"] == count["lora"]
    assert 0 < adapted.get_parameter_efficiency() < adapters.SHARE
    model.learn(128)
    assert adapters.optimizer_bytes(model.policy.optimizer) < 0.1 * 8 * whole
    adapted.unload()
    assert {name for name, _ in model.policy.named_parameters()} == before


@pytest.mark.slow
def test_the_benchmark_of_adapters_still_works():
    result = adapters.run(Options(quick=True))
    assert len(result.rows) == 3 * 3
    assert all(math.isfinite(row.ours) for row in result.rows)
    assert all(row.ours <= adapters.SHARE for row in result.rows if "parameters" in row.name)
    assert {trial["way"] for trial in result.trials} == set(adapters.WAYS)


def test_the_search_for_a_graph_encoder_still_works():
    space = graph_encoder.EncoderSpace()
    keys = {space.key(code) for code in space.all()}
    assert len(keys) == 4 + 4 + 3 * 4 * 2  # of the encoders without attention only the width counts
    assert graph_encoder.policy_kwargs(graph_encoder.DEFAULT) == {"encoder": "features", "hidden_dim": 64}
    result = graph_encoder.run(Options(quick=True))
    assert len(result.rows) == 3
    assert sum("test" in trial for trial in result.trials) == 4
