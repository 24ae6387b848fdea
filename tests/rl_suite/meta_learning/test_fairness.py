"""Measures of inequality against hand-computed values, and a regulariser that does what it says."""

import math

import pytest
import torch
from gradient_toys import toy_model, toy_tasks
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_suite.errors import UserError
from rl_suite.meta_learning.learners.fairness import MEASURES, Fairness, generalised_entropy, mean_entropy, theil
from rl_suite.meta_learning.learners.maml import MAML

LOSSES = torch.tensor([1.0, 3.0], dtype=torch.float64)  # relative: 0.5, 1.5
BY_HAND = {
    "theil": (0.5 * math.log(0.5) + 1.5 * math.log(1.5)) / 2,
    "generalised_entropy": ((0.25 + 2.25) / 2 - 1) / 2,
    "atkinson": 1 - ((math.sqrt(0.5) + math.sqrt(1.5)) / 2) ** 2,
    "gini": 0.25,
    "variance_of_logarithms": (math.log(3) / 2) ** 2,
}


@pytest.mark.parametrize("name", MEASURES)
def test_measures_by_hand(name):
    assert float(MEASURES[name](LOSSES)) == pytest.approx(BY_HAND[name])


@pytest.mark.parametrize("name", MEASURES)
@settings(max_examples=25)
@given(st.lists(st.floats(0.01, 100.0), min_size=2, max_size=8), st.floats(0.1, 10.0))
def test_measures_ignore_scale_and_order_and_are_zero_for_equals(name, losses, factor):
    measure, values = MEASURES[name], torch.tensor(losses, dtype=torch.float64)
    found = float(measure(values))
    assert found >= -1e-12
    assert float(measure(factor * values)) == pytest.approx(found, abs=1e-9)
    assert float(measure(values.flip(0))) == pytest.approx(found, abs=1e-9)
    assert float(measure(torch.full_like(values, factor))) == pytest.approx(0, abs=1e-9)


def test_theil_is_generalised_entropy_near_one():
    assert float(generalised_entropy(LOSSES, 1 + 1e-5)) == pytest.approx(float(theil(LOSSES)), rel=1e-4)


def test_entropy_of_a_fair_coin_and_of_a_sure_thing():
    assert float(mean_entropy(torch.zeros(4, 2))) == pytest.approx(math.log(2))
    assert float(mean_entropy(torch.tensor([[100.0, 0.0]]))) == pytest.approx(0, abs=1e-6)


def test_inequality_of_the_initial_losses_falls():
    tasks = toy_tasks(n=6, seed=1)
    tasks = tasks._replace(query_y=tasks.query_y * torch.tensor([0.2, 0.5, 1, 1, 2, 4])[:, None, None])
    found = {}
    for weight in (0.0, 20.0):
        learner = MAML(toy_model(), 0.01, 0.01, 1, "second", fairness=Fairness("theil", inequality=weight))
        for _ in range(60):
            learner.meta_train_step(tasks)
        losses = [(o - y).square().mean() for o, y in zip(learner.outputs(tasks, 0), tasks.query_y, strict=True)]
        found[weight] = float(theil(torch.stack(losses)))
    assert found[20.0] < 0.8 * found[0.0]


def test_entropy_reduction_keeps_the_initial_model_undecided():
    tasks, found = toy_tasks(n=4, classes=2), {}
    for weight in (0.0, 1.0):
        learner = MAML(toy_model(), 0.1, 0.01, 1, "second", fairness=Fairness(entropy=weight))
        for _ in range(60):
            learner.meta_train_step(tasks)
        found[weight] = [float(mean_entropy(torch.cat(learner.outputs(tasks, steps)))) for steps in (0, 1)]
    assert found[1.0][0] > found[0.0][0]
    assert found[1.0][0] - found[1.0][1] > found[0.0][0] - found[0.0][1]


def test_an_unknown_measure_is_refused():
    with pytest.raises(UserError, match="did you mean 'theil'"):
        Fairness("theill")
