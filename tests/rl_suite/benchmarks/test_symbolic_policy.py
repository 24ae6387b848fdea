from dataclasses import replace

import pytest

from rl_suite.benchmarks.harness import Options
from rl_suite.benchmarks.symbolic import Trial
from rl_suite.benchmarks.symbolic_policy import run, summary

FOUND = Trial("p", "ours", 0, True, True, 0.0, 0.0, 400, 2.0, "exact", "x", "equivalent")
MISSED = replace(FOUND, recovered=False, evaluations=1003)  # a generation is finished before the budget is seen


def test_both_ways_are_compared_pair_by_pair():
    easy = [FOUND, replace(FOUND, seed=1)]
    hard = [replace(t, problem="q", seconds=4.0) for t in (MISSED, replace(MISSED, seed=1))]
    lucky = [replace(FOUND, problem="q", evaluations=600), hard[1]]
    result = summary({"with": [easy, lucky], "without": [easy, hard]}, budget=1000)
    recovered, programs, time = result.rows
    assert (recovered.ours, recovered.peer) == (75.0, 50.0)
    assert (programs.ours, programs.peer) == ((400 + 400 + 600 + 1000) / 4, 700.0)
    assert (time.ours, time.peer) == (2.5, 3.0)
    assert "25 [0, 50]" in result.notes[1]
    assert "100 [0, 200]" in result.notes[2]
    assert result.notes[3].endswith("q 50:0")
    assert [trial["recovered"] for trial in result.trials] == [
        [True, True],
        [True, False],
        [True, True],
        [False, False],
    ]


def test_it_runs():
    result = run(Options(quick=True))
    assert [trial["way"] for trial in result.trials] == ["with"] * 2 + ["without"] * 2
    assert {trial["problem"] for trial in result.trials} == {"Nguyen-1", "Nguyen-2"}


def test_one_seed_is_refused(capsys):
    with pytest.raises(SystemExit):
        run(Options(extra=("--seeds", "1")))
    assert "one run has no interval" in capsys.readouterr().err
