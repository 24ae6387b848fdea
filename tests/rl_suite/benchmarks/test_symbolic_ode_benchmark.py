"""The benchmark of laws of motion: what counts as recovered, and that it runs."""

import numpy as np

from rl_suite.benchmarks.harness import Options
from rl_suite.benchmarks.symbolic_ode import SYSTEMS, is_recovered, run, sample, sindy


def test_recovered_means_the_terms_and_no_other() -> None:
    truth = SYSTEMS[0].laws
    assert is_recovered(truth, truth)
    near = [{k: 1.04 * v for k, v in law.items()} for law in truth]
    assert is_recovered(near, truth)
    assert not is_recovered([{k: 1.06 * v for k, v in law.items()} for law in truth], truth)
    assert not is_recovered([{**law, (0, 0): 1e-9} for law in truth], truth)
    assert not is_recovered([{}, {}], truth)


def test_the_peer_recovers_clean_data() -> None:
    t, X = sample(SYSTEMS[1], 0.0, 0)
    assert any(is_recovered(sindy(t, X, threshold), SYSTEMS[1].laws) for threshold in (0.03, 0.1, 0.3))
    assert not np.array_equal(sample(SYSTEMS[1], 0.01, 0)[1], sample(SYSTEMS[1], 0.01, 1)[1])


def test_it_runs() -> None:
    result = run(Options(quick=True))
    assert result.rows[0].ours == 100.0
    assert len(result.trials) == 2
