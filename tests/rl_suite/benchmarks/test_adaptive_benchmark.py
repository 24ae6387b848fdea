"""Every problem has a loss, and steps to a target are counted."""

import math

from rl_suite.benchmarks import adaptive


def test_steps_are_counted():
    found = {problem.name: problem for problem in adaptive.problems()}
    easy = found["noisy quadratic, SGD"]
    quick = adaptive.steps_to_target(easy._replace(target=10.0), 0, 30, use_meta_learning=False, lr=0.1)
    assert quick == adaptive.SMOOTH
    assert adaptive.steps_to_target(easy._replace(target=-10.0), 0, 5) == math.inf
    for problem in found.values():
        assert adaptive.steps_to_target(problem, 0, 2) == math.inf
