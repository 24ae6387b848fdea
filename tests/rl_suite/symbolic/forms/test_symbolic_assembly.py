"""Programs in their frames become laws: signs of the target, and exponents that are no simple numbers."""

import numpy as np
import pytest

from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.search import Search

RNG = np.random.default_rng(0)
X = RNG.uniform(0.2, 2, (200, 2))


@pytest.mark.parametrize(
    ("name", "y"),
    [
        ("falls below 0", -2.3 * np.exp(-2.5646 * X[:, 0] * X[:, 1])),
        ("below 0 with a power", -1.7 / X[:, 0] ** 3 * np.exp(-0.37 * X[:, 1] ** 2)),
        ("measured power of a sum", 3.1 * (1 + X[:, 0] ** 2) ** -1.37 * X[:, 1]),
        ("measured power of a sum, below 0", -3.1 * (X[:, 0] + X[:, 1]) ** 2.71),
        ("measured powers", 2 * X[:, 0] ** 1.37 / np.exp(X[:, 1])),
    ],
)
def test_targets_below_zero_and_measured_powers(name: str, y: np.ndarray) -> None:
    search = Search(Data(X, y, ("x", "z")), Options(population=200), 0, 60_000)
    search.run()
    assert search.reason == "exact", name


def test_measured_powers_are_found_through_noise() -> None:
    rng = np.random.default_rng(3)
    truth = 3.1 * (1 + X[:, 0] ** 2) ** -1.77 * X[:, 1]
    y = truth + 0.01 * truth.std() * rng.standard_normal(len(truth))
    search = Search(Data(X, y, ("x", "z")), Options(population=200), 0, 60_000)
    search.run()
    assert np.sqrt(np.mean((search.law.predict(X) - truth) ** 2)) < 0.003 * truth.std()
