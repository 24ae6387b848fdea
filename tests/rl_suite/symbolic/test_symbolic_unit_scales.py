"""Units with prefixes, degrees and electronvolts: the law holds for the numbers of the table, and says so in SI too."""

from typing import Any

import numpy as np
import pytest

from rl_suite.symbolic import SymbolicRegressor

X = np.random.default_rng(2).uniform(1, 5, (60, 3))


def fitted(y: np.ndarray, units: tuple[str, str, str], target: str, **options: Any) -> SymbolicRegressor:
    named = dict(zip(("x0", "x1", "x2"), units, strict=True))
    return SymbolicRegressor(budget=20_000, random_state=0, units=named, target_unit=target, **options).fit(X, y)


@pytest.mark.parametrize(
    ("y", "units", "target", "law"),
    [
        (X[:, 0] * X[:, 1] ** 2 / 2e4, ("kg", "cm/s", "m"), "J", "x0*x1**2/20000"),
        (X[:, 0] * 1000 + X[:, 2], ("km", "1", "m"), "m", "1000*x0 + x2"),
        (X[:, 0] * np.cos(np.deg2rad(X[:, 2])), ("N", "m", "deg"), "N", "x0*cos(pi*x2/180)"),
        (X[:, 0] * X[:, 1], ("kg", "m/s²", "m"), "N", "x0*x1"),
    ],
)
def test_sizes_of_units_are_in_the_law(y: np.ndarray, units: tuple[str, str, str], target: str, law: str) -> None:
    model = fitted(y, units, target)
    assert str(model.law_) == law
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-12)


def test_a_constant_with_a_unit_is_measured_where_that_is_allowed() -> None:
    gas = 8.314 * X[:, 0] * X[:, 1] / X[:, 2]
    model = fitted(gas, ("mol", "K", "L"), "kPa", free_constants=True)
    np.testing.assert_allclose(model.predict(X), gas, rtol=1e-12)
    assert str(model.law_) == "4157*x0*x1/(500*x2)"
    with pytest.raises(ValueError, match="no product of powers"):
        fitted(gas, ("mol", "K", "L"), "kPa")


def test_an_unknown_unit_is_one_line() -> None:
    with pytest.raises(ValueError, match="'kgg' is not known; did you mean 'kg'"):
        fitted(X[:, 0], ("kgg", "m", "m"), "kg")
