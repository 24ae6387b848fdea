"""Laws with constants of nature over decades: the truth passes the judge, and what only looks like it does not."""

import numpy as np
import pytest

from envs.symbolic.benchmarks import BASE_UNITS, Problem, problems
from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from rl_suite.symbolic.laws.judge import judge, law_of
from rl_suite.symbolic.laws.pieces import from_program

PROBLEMS = {problem.name: problem for problem in problems("fastsrb")}


def law(text: str, problem: Problem):
    library = Library("full", problem.variables, constant=True)
    expression = parse(text, library)
    return from_program(expression.program, expression.constants.tolist(), library).law(library)


def test_the_set_is_whole_and_the_truth_of_each_law_passes() -> None:
    assert len(PROBLEMS) == 120
    for problem in list(PROBLEMS.values())[::6]:
        assert judge(law_of(problem), problem).recovered, problem.name
        assert len(problem.units[0]) == len(BASE_UNITS)


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("III.12.43", "1.0545606529268985e-34*n", True),
        ("III.12.43", "1.0546e-34*n", False),
        ("II.38.14", "0.5*Y - 0.5*sigma*Y", False),
        ("II.38.14", "Y/(2.0*sigma + 2.0)", True),
        ("I.15.1", "m_0*v", False),
    ],
)
def test_constants_are_compared_as_numbers_and_forms_outside_the_ranges(name: str, text: str, right: bool) -> None:
    assert judge(law(text, PROBLEMS[name]), PROBLEMS[name]).recovered == right


def test_ranges_are_drawn_as_they_are_said() -> None:
    problem = PROBLEMS["II.38.3"]  # Y log 0.1 10; A log 1e-4 1e-2; x log, both signs, 1e-3 0.1; d log 0.01 1
    X, _ = problem.draw(np.random.default_rng(0), 4000)
    assert X[:, 0].min() >= 0.1
    assert np.log10(np.median(X[:, 0])) == pytest.approx(0.0, abs=0.1)
    assert np.mean(X[:, 2] < 0) == pytest.approx(0.5, abs=0.05)
    wide, _ = problem.draw(np.random.default_rng(0), 4000, 2.0)
    assert 0.01 <= wide[:, 0].min() < 0.02
    whole, _ = PROBLEMS["III.12.43"].draw(np.random.default_rng(0), 500)
    assert set(whole[:, 0]) <= set(range(1, 101))
