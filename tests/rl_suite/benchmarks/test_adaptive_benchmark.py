"""Every problem has a loss, and steps to a target are counted."""

import math

from rl_suite.benchmarks import adaptive


def test_steps_are_counted():
    found = {problem.name: problem for problem in adaptive.problems()}
    easy = found["noisy quadratic, SGD"]
    quick = adaptive.train(easy._replace(target=10.0), 0, 30, {"use_meta_learning": False, "lr": 0.1})
    assert quick == adaptive.SMOOTH
    assert adaptive.train(easy._replace(target=-10.0), 0, 5, {}) == math.inf
    for problem in found.values():
        assert adaptive.train(problem, 0, 2, {}) == math.inf


def test_ppo_trains_with_an_adaptive_optimiser_and_counts_its_steps(monkeypatch):
    assert adaptive.steps_to_target((adaptive.PPO_NAME, 0, 10, {"lr": 1e-3})) == math.inf
    monkeypatch.setattr(adaptive, "PPO_RETURN", -1e9)
    assert 0 < adaptive.steps_to_target((adaptive.PPO_NAME, 0, 500, {"lr": 1e-3})) < 500
