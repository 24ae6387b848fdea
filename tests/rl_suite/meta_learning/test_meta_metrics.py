"""Means come with intervals, and comparisons are paired."""

import json
import math

import numpy as np
import pytest
from torch import nn

from rl_suite.errors import UserError
from rl_suite.meta_learning.metrics import (
    TaskReport,
    TaskScores,
    adaptation_speed,
    architecture_quality,
    compare,
    forgetting,
    mean_interval,
    parameter_efficiency,
    sample_efficiency,
    tool_success,
)


def test_the_interval_is_students():
    low, high = mean_interval([1.0, 2.0, 3.0, 4.0])[1:]
    assert (low, high) == pytest.approx((2.5 - 2.0542, 2.5 + 2.0542), abs=1e-3)  # t = 3.1824, s = 1.2910
    assert math.isnan(mean_interval([1.0]).low)


def test_the_worst_decile_is_at_the_end_that_is_worse():
    values = np.arange(20.0)
    assert TaskScores.of(values).worst_decile == 0.5
    assert TaskScores.of(values, higher_is_better=False).worst_decile == 18.5


def test_pairs_cancel_what_the_tasks_add():
    difficulty = np.random.default_rng(0).normal(0, 10, 50)
    x, y = TaskScores.of(difficulty + 1), TaskScores.of(difficulty)
    found = compare(x, y)
    assert found.difference.low == pytest.approx(1)
    assert found.p_value < 0.01
    assert compare(x, x).p_value == 1.0
    with pytest.raises(ValueError, match="same tasks"):
        compare(x, TaskScores.of([1.0]))


def test_a_report_prints_and_keeps_every_task(tmp_path):
    scores = {"adapted": TaskScores.of([0.5, 1.0]), "unadapted": TaskScores.of([0.2, 0.2])}
    report = TaskReport("title", "accuracy", {"tasks": 2}, scores)
    (table,) = report.tables()
    assert table.row_count == 2
    report.save(tmp_path / "evaluation.json")
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert content["results"]["adapted"]["values"] == [0.5, 1.0]
    assert content["first_row_minus"]["unadapted"]["difference"]["estimate"] == pytest.approx(0.55)


def test_measures_of_learners_by_hand():
    assert adaptation_speed([0.2, 0.5, 0.9], 0.5) == 1
    assert adaptation_speed([[3.0, 1.0], [1.0, 0.0]], 0.6, higher_is_better=False) == 1
    assert adaptation_speed([0.1, 0.2], 0.5) is None
    assert sample_efficiency([1, 10, 100], [0.0, 1.0, 1.0]) == pytest.approx(0.75)
    with pytest.raises(UserError, match="rising numbers"):
        sample_efficiency([2, 1], [0.0, 1.0])
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    net[0].requires_grad_(False)
    assert parameter_efficiency(net) == pytest.approx(3 / 11)
    assert tool_success([1, 0, 1, 0], [1.0, 1.0, 2.0, 2.0]) == {"success_rate": 0.5, "cost_per_success": 3.0}
    assert tool_success([0], [1.0])["cost_per_success"] == math.inf
    assert architecture_quality(0.9, 0.8, 1.0) == pytest.approx(0.5)
    with pytest.raises(UserError, match="better than a typical"):
        architecture_quality(0.9, 0.8, 0.8)
    assert forgetting([[0.9, 0.1], [0.6, 0.8]]) == pytest.approx(0.3)
