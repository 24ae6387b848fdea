"""The functions are the known ones, and the benchmark still works."""

import numpy as np
import pytest

from rl_suite.benchmarks import Options, bayesian


def test_the_functions_have_their_known_minima():
    assert bayesian.branin({"x0": np.pi, "x1": 2.275}) == pytest.approx(0, abs=1e-6)
    at = (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573)
    assert bayesian.hartmann6({f"x{i}": x for i, x in enumerate(at)}) == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
def test_the_benchmark_still_works():
    result = bayesian.run(Options(quick=True))
    assert len(result.trials) == 2 * 6
    assert all(trial["median"] >= 0 for trial in result.trials)
