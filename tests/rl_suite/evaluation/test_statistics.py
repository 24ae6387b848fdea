import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rl_suite.evaluation import statistics
from rl_suite.evaluation.statistics import (
    Interval,
    cluster_bootstrap,
    iqm,
    mean,
    optimality_gap,
    paired_bootstrap,
    performance_profile,
    permutation_test,
    probability_of_improvement,
    stratified_bootstrap,
)

FINITE = st.floats(-1e6, 1e6, allow_nan=False, width=32)
SCORES = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 6)), elements=FINITE)
SEEDS = st.integers(0, 2**32 - 1)

# 3 tasks, 4 runs each; all 12 numbers are distinct
X = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 1.5, 0.7, 0.9], [2.0, 0.0, 1.0, 0.6]])
Y = np.array([[0.1, 0.1, 0.1, 0.1], [1.0, 1.0, 1.0, 1.0], [3.0, 3.0, 0.5, 0.5]])


def test_point_estimates_by_hand():
    # sorted: 0 .1 .2 | .3 .4 .5 .6 .7 .9 | 1 1.5 2
    assert iqm(X) == pytest.approx((0.3 + 0.4 + 0.5 + 0.6 + 0.7 + 0.9) / 6)
    assert mean(X) == pytest.approx(8.2 / 12)
    # capped at 1: 1.0 + (.5 + 1 + .7 + .9) + (1 + 0 + 1 + .6)
    assert optimality_gap(X) == pytest.approx(1 - 6.7 / 12)
    assert optimality_gap(X, optimum=0.5) == pytest.approx(0.5 - (1.0 + 2.0 + 1.5) / 12)


def test_a_quarter_is_rounded_down_to_whole_runs():
    assert iqm(np.array([[1.0, 2.0, 3.0]])) == 2.0  # nothing is left out
    assert iqm(np.array([[1.0, 2.0, 3.0, 4.0, 100.0]])) == 3.0  # one at each end


def test_definitions_of_agarwal_et_al():
    """Written out from the paper with loops; the paper's matrices are (runs, tasks)."""
    runs_by_tasks_x, runs_by_tasks_y = X.T, Y.T
    flat = sorted(runs_by_tasks_x.flatten().tolist())
    cut = int(0.25 * len(flat))
    assert iqm(X) == pytest.approx(sum(flat[cut:-cut]) / (len(flat) - 2 * cut))
    assert mean(X) == pytest.approx(np.mean(np.mean(runs_by_tasks_x, axis=0)))
    assert optimality_gap(X) == pytest.approx(1 - np.mean([min(score, 1.0) for score in flat]))
    for threshold in (0.0, 0.3, 1.0, 2.0):
        counted = sum(score > threshold for score in flat) / len(flat)
        assert performance_profile(X, [threshold], resamples=2, seed=0).fraction[0] == pytest.approx(counted)
    per_task = []
    for task in range(3):
        outcomes = [
            1.0 if a > b else 0.5 if a == b else 0.0 for a in runs_by_tasks_x[:, task] for b in runs_by_tasks_y[:, task]
        ]
        per_task.append(sum(outcomes) / len(outcomes))
    assert per_task == [0.875, 0.25, 0.375]  # by hand: (4 ties + 12 wins), 4 wins, 6 wins of 16 pairs
    assert probability_of_improvement(X, Y, resamples=2, seed=0).estimate == pytest.approx(0.5)


def test_the_bootstrap_resamples_within_tasks_only():
    """Tasks of constant, different scores: nothing can vary, although the scores differ."""
    constant = np.repeat([[1.0], [5.0], [9.0]], 4, axis=1)
    assert stratified_bootstrap(constant, mean, seed=0) == Interval(5.0, 5.0, 5.0)


def test_the_bootstrap_interval_has_the_width_that_theory_gives():
    """The mean of n bootstrap draws has variance s^2 / n, with the population variance s^2 of each task."""
    scores = np.random.default_rng(0).normal(size=(5, 40)) + np.arange(5)[:, None] * 100
    interval = stratified_bootstrap(scores, mean, resamples=20_000, seed=1)
    expected = 2 * 1.959964 * np.sqrt(scores.var(axis=1).mean() / 200)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.02)
    narrow = stratified_bootstrap(scores, mean, resamples=20_000, confidence=0.68, seed=1)
    assert narrow.high - narrow.low == pytest.approx(expected * 0.994458 / 1.959964, rel=0.02)


def test_intervals_cover_the_truth_about_as_often_as_they_promise():
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(300):
        interval = stratified_bootstrap(rng.normal(size=(4, 25)), mean, resamples=300, seed=trial)
        hits += interval.low <= 0 <= interval.high
    assert 0.90 < hits / 300 < 0.99


def test_chunks_change_memory_not_results(monkeypatch):
    whole = stratified_bootstrap(X, iqm, resamples=500, seed=5)
    profile = performance_profile(X, [0.2, 0.8], resamples=500, seed=5)
    monkeypatch.setattr(statistics, "CHUNK", 100)
    assert stratified_bootstrap(X, iqm, resamples=500, seed=5) == whole
    np.testing.assert_array_equal(performance_profile(X, [0.2, 0.8], resamples=500, seed=5).high, profile.high)


def test_pairs_cancel_what_both_share():
    noise = np.random.default_rng(0).normal(size=(3, 20)) * 50
    paired = paired_bootstrap(noise + 1.0, noise, seed=0)
    assert paired.estimate == pytest.approx(1.0)
    assert paired.high - paired.low < 1e-9
    unequal = paired_bootstrap(X, Y, resamples=200, seed=0)
    assert unequal.estimate == pytest.approx(mean(X - Y))
    assert unequal.low < unequal.estimate < unequal.high


def test_probability_of_improvement_at_its_ends():
    assert probability_of_improvement(X + 10, Y, seed=0) == Interval(1.0, 1.0, 1.0)
    assert probability_of_improvement(X - 10, Y, seed=0) == Interval(0.0, 0.0, 0.0)
    assert probability_of_improvement([1.0, 1.0], [1.0, 1.0, 1.0], seed=0).estimate == 0.5


def test_the_profile_falls_from_all_to_none():
    profile = performance_profile(X, [-1.0, 0.35, 2.0], seed=0)
    np.testing.assert_allclose(profile.fraction, [1.0, 8 / 12, 0.0])
    assert (profile.low <= profile.fraction).all()
    assert (profile.fraction <= profile.high).all()
    assert performance_profile(X, [], seed=0).fraction.shape == (0,)


def test_permutation_p_values_by_enumeration():
    """Unpaired, one task: 6 deals of {0,0,1,1} into halves, 2 of them as extreme as the observed one."""
    p = permutation_test([1.0, 1.0], [0.0, 0.0], permutations=30_000, seed=0)
    assert p == pytest.approx(2 / 6, abs=0.01)
    # paired: 4 sign patterns of the differences (1, 1), 2 as extreme
    p = permutation_test([1.0, 1.0], [0.0, 0.0], paired=True, permutations=30_000, seed=0)
    assert p == pytest.approx(2 / 4, abs=0.01)
    # three tasks multiply: (1/6)^3 for each direction
    p = permutation_test([[1.0, 1.0]] * 3, [[0.0, 0.0]] * 3, permutations=100_000, seed=0)
    assert p == pytest.approx(2 / 216, abs=0.002)


def test_permutation_p_values_are_uniform_when_nothing_differs():
    rng = np.random.default_rng(0)
    values = [permutation_test(*rng.normal(size=(2, 2, 6)), permutations=200, seed=trial) for trial in range(300)]
    assert 0.02 < np.mean(np.array(values) <= 0.05) < 0.09
    assert 0.43 < np.mean(values) < 0.57
    assert permutation_test(X, X, seed=0) == 1.0


@settings(deadline=None, max_examples=60)
@given(SCORES, SEEDS)
def test_estimates_lie_where_they_must(scores, seed):
    slack = 1e-9 * max(1.0, float(np.abs(scores).max()))
    for statistic in (iqm, mean):
        interval = stratified_bootstrap(scores, statistic, resamples=50, seed=seed)
        assert interval.low <= interval.estimate <= interval.high
        assert scores.min() - slack <= interval.low
        assert interval.high <= scores.max() + slack
    assert optimality_gap(scores, optimum=float(scores.max())) >= -slack


@settings(deadline=None, max_examples=60)
@given(SCORES, SEEDS)
def test_order_does_not_matter_and_scale_carries_over(scores, seed):
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(rng.permuted(scores, axis=1), axis=0)
    for statistic in (iqm, mean, optimality_gap):
        np.testing.assert_allclose(statistic(shuffled), statistic(scores), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(iqm(3 * scores - 7), 3 * iqm(scores) - 7, rtol=1e-9, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(SCORES, SCORES, SEEDS)
def test_improvement_of_x_and_of_y_add_up_to_one(x, y, seed):
    tasks = min(len(x), len(y))
    forth = probability_of_improvement(x[:tasks], y[:tasks], resamples=20, seed=seed)
    back = probability_of_improvement(y[:tasks], x[:tasks], resamples=20, seed=seed)
    assert forth.estimate + back.estimate == pytest.approx(1.0)
    assert 0.0 <= forth.low <= forth.high <= 1.0


@settings(deadline=None, max_examples=30)
@given(SCORES, SEEDS)
def test_the_same_seed_gives_the_same_interval(scores, seed):
    assert stratified_bootstrap(scores, resamples=20, seed=seed) == stratified_bootstrap(
        scores, resamples=20, seed=seed
    )
    flat = stratified_bootstrap(scores.reshape(-1), resamples=20, seed=seed)
    assert flat.estimate == pytest.approx(float(iqm(scores)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stratified_bootstrap([[1.0, np.nan]], seed=0), "task 0, run 1 is nan"),
        (lambda: stratified_bootstrap([], seed=0), "at least one run"),
        (lambda: stratified_bootstrap(np.zeros((2, 2, 2)), seed=0), r"\(tasks, runs\)"),
        (lambda: stratified_bootstrap([[1.0], [2.0]], seed=0), "pool the tasks"),
        (lambda: stratified_bootstrap([1.0, 2.0], resamples=0, seed=0), "resamples must be at least 1"),
        (lambda: stratified_bootstrap([1.0, 2.0], confidence=95, seed=0), "confidence must lie between 0 and 1"),
        (lambda: paired_bootstrap([1.0, 2.0], [1.0, 2.0, 3.0], seed=0), "same shape"),
        (lambda: permutation_test([1.0, 2.0], [1.0, 2.0, 3.0], paired=True, seed=0), "same shape"),
        (lambda: permutation_test([1.0], [2.0], permutations=0, seed=0), "permutations must be at least 1"),
        (lambda: probability_of_improvement([[1.0, 2.0]], [[1.0], [2.0]], seed=0), "same tasks"),
        (lambda: performance_profile([1.0, 2.0], [[0.0]], seed=0), "list of finite numbers"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_an_interval_prints_itself():
    assert str(Interval(1.23456, 1.0, 2.0)) == "1.235 [1, 2]"


def test_what_belongs_together_is_drawn_together():
    # two groups: every resample is one of 0, 1/3 (each once; 1 of 3 values is 1) and 1
    found = cluster_bootstrap([0.0, 0.0, 1.0], ["a", "a", "b"], seed=0)
    assert found == Interval(pytest.approx(1 / 3), 0.0, 1.0)
    alike = cluster_bootstrap([0.0, 1.0, 0.0, 1.0], ["a", "a", "b", "b"], seed=0)
    assert alike == Interval(0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="as many"):
        cluster_bootstrap([1.0], ["a", "b"], seed=0)
