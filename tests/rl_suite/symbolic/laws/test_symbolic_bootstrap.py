"""Errors of constants out of resampled rows agree with those of the Jacobian where the noise is normal."""

import numpy as np
import pytest

from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from rl_suite.symbolic.laws.constants import bootstrapped, constants_of
from rl_suite.symbolic.laws.pieces import from_program
from rl_suite.symbolic.laws.polish import Finished, Polisher


def line(x: np.ndarray, y: np.ndarray) -> tuple[Finished, Polisher]:
    library = Library("full", ["x"], constant=True)
    expression = parse("1.1*x + 0.3", library)
    law = from_program(expression.program, expression.constants.tolist(), library).law(library)
    polisher = Polisher(x[:, None], y)
    return polisher.priced(polisher.fit(law)[0][0]), polisher


def test_with_normal_noise_both_errors_agree() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 5, 100)
    finished, polisher = line(x, 2.31 * x + 0.77 + 0.2 * rng.standard_normal(100))
    (jacobian,) = constants_of(finished, polisher)
    (resampled,) = bootstrapped(finished, polisher, 200)
    for of_jacobian, of_rows in zip(jacobian, resampled, strict=True):
        assert of_rows.value == of_jacobian.value
        assert of_rows.error == pytest.approx(of_jacobian.error, rel=0.25)
        assert of_rows.interval is not None
        assert of_rows.interval[0] < of_rows.value < of_rows.interval[1]
        assert f"[{of_rows.interval[0]:.3g}"[:3] in str(of_rows)
    assert bootstrapped(finished, polisher, 200) == [resampled]


def test_where_the_noise_grows_with_x_resampled_rows_say_so() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 5, 300)
    finished, polisher = line(x, 2.31 * x + 0.77 + 0.2 * x**2 * rng.standard_normal(300))
    slope, resampled = constants_of(finished, polisher)[0], bootstrapped(finished, polisher, 200)[0]
    place = int(np.argmax([c.value for c in slope]))
    assert resampled[place].error > 1.15 * slope[place].error
