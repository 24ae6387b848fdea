"""Columns of any size: scaled inside, and the laws are those of the data's own numbers."""

import numpy as np
import pytest

from envs.symbolic.units import Units
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.scaling import scaling_of


def test_ordinary_tables_are_left_alone() -> None:
    X = np.random.default_rng(0).uniform(0.01, 1e4, (30, 2))
    assert scaling_of(Data(X, X[:, 0], ("a", "b"))).trivial


def test_columns_of_similar_size_keep_their_sums() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([1e11 * rng.uniform(1, 5, 30), 1e12 * rng.uniform(1, 5, 30), rng.uniform(1, 5, 30)])
    powers = scaling_of(Data(X, X[:, 0], ("a", "b", "c"))).columns
    assert powers[0] == powers[1] > 8
    assert powers[2] == 0


def test_units_are_scaled_as_units_are() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([1e30 * rng.uniform(1, 5, 30), 1e4 * rng.uniform(1, 5, 30)])
    units = Units.from_text(("m", "v"), {"m": "kg", "v": "m/s"}, "J")
    scaling = scaling_of(Data(X, X[:, 0] * X[:, 1] ** 2, ("m", "v"), units))
    assert scaling.target == scaling.columns[0] + 2 * scaling.columns[1]


@pytest.mark.parametrize(
    ("sizes", "formula", "printed"),
    [
        ((160,), lambda x: 3 * x, "3*x0"),
        ((-280,), lambda x: 3 * x, "3*x0"),
        ((300, -300), lambda x, y: x * y, "x0*x1"),
        ((27, 28, 10), lambda a, b, r: 6.674e-11 * a * b / r**2, "6.674e-11*x0*x1/x2**2"),
        ((-27, 8), lambda m, v: m * v**2 / 2, "x0*x1**2/2"),
        ((200, 200, 200), lambda a, b, c: a * (b / c), "x0*x1/x2"),  # x0*x1 is no number of double precision
    ],
)
def test_laws_of_columns_of_any_size(sizes, formula, printed: str) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    X = np.column_stack([10.0**k * rng.uniform(1, 5, 40) for k in sizes])
    y = formula(*X.T)
    model = SymbolicRegressor(budget=8_000, random_state=0).fit(X, y)
    assert str(model.law_) == printed
    assert model.stopped_ == "exact"
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-9)


def test_a_heavy_tail_is_not_exact_where_only_its_largest_rows_are_right() -> None:
    x = 10.0 ** np.random.default_rng(0).uniform(-3, 12, (60, 1))
    model = SymbolicRegressor(budget=6_000, random_state=0).fit(x, x[:, 0] ** 2 + np.sin(x[:, 0]))
    off = np.abs(model.predict(x) / (x[:, 0] ** 2 + np.sin(x[:, 0])) - 1).max()
    assert off > 1e-3
    assert model.stopped_ != "exact"


def test_numbers_that_underflow_do_not_set_the_size_of_the_target() -> None:
    ratio = 10.0 ** np.random.default_rng(0).uniform(-2, 1.4, (80, 1))
    y = np.exp(-(ratio[:, 0] ** 2))  # down to 1e-250
    assert y.min() < 1e-200
    assert scaling_of(Data(ratio, y, ("r",))).trivial


@pytest.mark.parametrize(
    ("law", "columns"),
    [
        (lambda a, b: np.log(a), [(-300, 300), (0, 1)]),
        (lambda a, b: np.sqrt(a), [(-300, 300), (0, 1)]),
        (lambda a, b: a * b, [(-150, 150), (-150, 150)]),
        (lambda a, b: b / 2, [(-300, 300), (307.9, 308.2)]),
        (lambda a, b: b**2 + np.log(a), [(-300, 300), (0, 0.3)]),
    ],
)
def test_columns_over_hundreds_of_decades(law, columns: list[tuple[float, float]]) -> None:
    rng = np.random.default_rng(3)
    X = np.column_stack([10.0 ** rng.uniform(low, high, 60) for low, high in columns])
    y = law(*X.T)
    model = SymbolicRegressor(budget=6_000, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-9)


def test_numbers_below_the_normal_ones_have_a_law() -> None:
    X = 10 ** np.random.default_rng(0).uniform(-310, -309, (50, 1))
    model = SymbolicRegressor(budget=3_000, random_state=0).fit(X, 3 * X[:, 0])
    assert str(model.law_) == "3*x0"


def test_a_column_that_says_nothing_has_no_power_of_rounding() -> None:
    rng = np.random.default_rng(42)
    X = np.column_stack([10 ** rng.uniform(20, 25, 60), 10 ** rng.uniform(-30, -25, 60), rng.uniform(1, 5, 60)])
    model = SymbolicRegressor(budget=6_000, random_state=0).fit(X, X[:, 0] ** 2 * X[:, 1] ** -3)
    assert str(model.law_) == "x0**2/x1**3"
