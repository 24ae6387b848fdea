"""The benchmark of the worlds still runs; its figures are for people, not for tests."""

import math

from rl_suite.benchmarks import BENCHMARKS, Options, load


def test_every_row_is_measured() -> None:
    result = load("worlds", BENCHMARKS).run(Options(quick=True, repeats=1))
    assert len(result.rows) == 12
    assert {row.name: row.target for row in result.rows if row.target} == {
        "DarkRoom, gym.make_vec": 20.0,
        "DarkRoom, raw tables": 500.0,
        "Q-learning in DarkRoom": 1000.0,
    }
    assert all(math.isfinite(row.ours) and row.ours > 0 for row in result.rows)
