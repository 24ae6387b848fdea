"""The comparison of spreads is paired, and a variance that falls counts as better."""

import numpy as np
import pytest

from rl_suite.benchmarks import fairness as benchmark


def trial(name, seed, values):
    values = np.array(values)
    ends = {"accuracy": values.mean(), "variance": values.var(ddof=1), "worst_decile": values.min()}
    return {"variant": name, "seed": seed, "values": values, **ends}


def test_rows_and_differences():
    fair, plain = [0.7, 0.8] * 10, [0.5, 1.0] * 10
    trials = [trial(name, 0, plain if name == benchmark.PLAIN else fair) for name in benchmark.VARIANTS]
    rows = benchmark.rows_of(trials)
    assert [row.name.split(",")[0] for row in rows] == ["accuracy", "variance", "worst decile"] * 2
    assert rows[1].ratio == pytest.approx(25)
    assert rows[2].ours == pytest.approx(70)
    (first, _) = benchmark.comparisons(trials)
    assert first["accuracy_difference"]["estimate"] == pytest.approx(0)
    assert first["variance_difference"]["estimate"] == pytest.approx(0.0025 - 0.0625)
    assert first["p_variance"] < 0.01
