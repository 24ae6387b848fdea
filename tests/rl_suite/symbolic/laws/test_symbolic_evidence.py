"""Numbers are recognised only where the data single them out, and all are printed with their errors."""

from fractions import Fraction

import numpy as np
import pytest

from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.laws.numbers import Exact, coincidences


def test_linear_tables_with_noise_have_measured_numbers() -> None:
    rng = np.random.default_rng(3)
    recognised = inside = 0
    for k in range(8):
        a, b = rng.uniform(0.5, 5, 2)
        x = rng.uniform(0, 5, 100)
        y = a * x + b
        y += 0.03 * y.std() * rng.standard_normal(100)
        model = SymbolicRegressor(budget=4_000, random_state=k).fit(x[:, None], y)
        recognised += any(e is not None for e in model.law_.exact)
        slope, intercept = np.polyfit(x, y, 1)
        np.testing.assert_allclose(model.predict(x[:, None]), slope * x + intercept, rtol=1e-6)
        truth = {"c1": a, "c2": b}
        inside += sum(abs(c.value - truth[c.name]) < 2 * c.error for c in model.constants_)
    assert recognised <= 1
    assert inside >= 11  # of 16, of which 95 % are expected within two standard errors


def test_numbers_without_noise_are_recognised() -> None:
    x = np.random.default_rng(0).uniform(1, 5, (60, 2))
    model = SymbolicRegressor(budget=20_000, random_state=0).fit(x, 1.35 * x[:, 0] ** 2 / np.pi + 0.75 * x[:, 1])
    assert [c.name for c in model.constants_ if c.recognised] == ["27/(20*pi)", "3/4"]


def test_simple_numbers_need_less_precision_than_odd_ones() -> None:
    simple, odd = Exact(Fraction(3)), Exact(Fraction(7, 16), Fraction(1, 2), 3)
    assert coincidences(simple, 3.0, 1e-3) < coincidences(odd, float(odd), 1e-3)
    assert coincidences(simple, 3.0, 1e-3) == pytest.approx(2 * coincidences(simple, 3.0, 5e-4))


def test_the_front_begins_with_the_constant_and_is_never_worse_than_it() -> None:
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(60, 2)), rng.integers(1, 9, 60).astype(float)
    model = SymbolicRegressor(budget=6_000, random_state=0).fit(X, y)
    assert str(model.law_) == f"{y.mean():.4f}"
    assert model.constants_[0].error == pytest.approx(y.std(ddof=1) / 60**0.5, rel=1e-6)
    assert model.score(X, y) == pytest.approx(0.0, abs=1e-12)
    assert all(f.nmse <= 1 + 1e-9 for f in model.front_)


def test_the_front_is_least_squares_and_no_worse_than_line_and_power_law() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(1, 9, 40)
    y = 1e34 * (1 + 0.2 * x**1.3) * np.exp(0.1 * rng.standard_normal(40))
    model = SymbolicRegressor(budget=6_000, random_state=0).fit(x[:, None], y)
    line = np.mean((np.polyval(np.polyfit(x, y / 1e34, 1), x) - y / 1e34) ** 2) / np.var(y / 1e34)
    assert min(f.nmse for f in model.front_ if f.complexity <= 5) <= line * (1 + 1e-9)
    for finished in model.front_:
        law = finished.law
        for k, exact in enumerate(law.exact):
            if exact is None:  # no step of any measured constant makes it better
                for step in (1 + 1e-3, 1 - 1e-3):
                    constants = law.constants.copy()
                    constants[k] *= step
                    moved = type(law)(law.library, law.program, constants, law.exact).predict(x[:, None])
                    assert np.nanmean(((moved - y) / y.std()) ** 2) >= finished.nmse * (1 - 1e-9)


@pytest.mark.parametrize(
    ("exact", "value", "error"),
    [
        (Exact(Fraction(174), Fraction(3)), 5408.66, 26.2),
        (Exact(Fraction(35), Fraction(3)), 8050.0, 1747.7),
        (Exact(Fraction(1, 250), Fraction(-3), 2), 1.848e-4, 4.9e-6),
    ],
)
def test_a_number_that_lies_where_few_are_tried_is_still_one_that_was_tried(
    exact: Exact, value: float, error: float
) -> None:
    assert coincidences(exact, value, error) > 0.01


def test_what_was_an_exponent_is_measured_where_it_is_printed_as_a_factor() -> None:
    rng = np.random.default_rng([99, 4])
    a, b = rng.uniform(0.5, 5, 2)  # 4.2662 is no 17/4
    x = rng.uniform(0.5, 50, 100)
    y = a * np.log(x) + b
    y += 0.03 * y.std() * rng.standard_normal(100)
    model = SymbolicRegressor(budget=15_000, random_state=4).fit(x[:, None], y)
    assert all(e is None for e in model.law_.exact)
