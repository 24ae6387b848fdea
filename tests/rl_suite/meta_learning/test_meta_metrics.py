"""Means come with intervals, and comparisons are paired."""

import json
import math

import numpy as np
import pytest

from rl_suite.meta_learning.metrics import TaskReport, TaskScores, compare, mean_interval


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
