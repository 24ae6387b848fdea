"""What a law costs: Akaike's criterion at few rows, description length at many, and between them no step."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import from_program
from rl_suite.symbolic.laws.polish import Polisher
from rl_suite.symbolic.laws.price import few, price
from rl_suite.symbolic.laws.validation import left_out


def law(text: str) -> Law:
    library = Library("full", ["x"], constant=True)
    expression = parse(text, library)
    return from_program(expression.program, expression.constants.tolist(), library).law(library)


def test_at_few_rows_a_constant_costs_what_akaikes_corrected_criterion_says() -> None:
    line, mean = law("1.3*x + 0.4"), law("2.2")
    # 12 rows: k + k(k + 1)/(n - k - 1) in units of ln 2, where k counts the constants and the variance
    penalty = (3 + 12 / 8 - 2 - 6 / 9) / math.log(2)
    assert price(line, 0.25, [12]) - price(mean, 1.0, [12]) == pytest.approx(-12.0 + 4 * 1.25 + penalty)
    assert price(law("1.3*sin(x)"), 0.1, [12]) - price(law("1.3*exp(x)"), 0.1, [12]) == pytest.approx(4.0)
    assert price(law("x**2.7"), 0.1, [12]) - price(law("x*2.7"), 0.1, [12]) == pytest.approx(3.0)


def test_at_few_rows_a_number_that_is_not_plain_was_fitted_too() -> None:
    plain, odd = (replace(law("1.3*x**2.7"), exact=(None, Exact(Fraction(*e)))) for e in ((3, 2), (19, 3)))
    penalty = (3 + 12 / 8 - 2 - 6 / 9) / math.log(2)
    assert price(odd, 0.1, [12]) - price(plain, 0.1, [12]) == pytest.approx(penalty)


def test_at_many_rows_the_price_is_a_description_length() -> None:
    line = law("1.3*x + 0.4")
    assert price(line, 0.25, [200]) == pytest.approx(-200 + 4 * 5 + 2 * (3 + 0.5 * np.log2(800)))


def test_no_number_of_rows_makes_a_step() -> None:
    line = law("1.3*sin(x)**2.2 + 0.4")
    prices = np.array([price(line, 0.2, [n]) for n in range(30, 120)])
    assert np.abs(np.diff(prices)).max() < 2.5


def test_a_left_out_row_is_predicted_by_the_others() -> None:
    x = np.arange(1.0, 9.0)
    y = np.array([2.1, 3.8, 6.3, 7.9, 10.2, 11.7, 14.4, 15.8])
    error = left_out([law("2.0*x + 0.1")], Polisher(x[:, None], y))
    for i in range(8):
        others = np.arange(8) != i
        line = np.polyfit(x[others], y[others], 1)
        assert error[i] == pytest.approx((np.polyval(line, x[i]) - y[i]) ** 2 / y.var(), rel=1e-6)


def test_a_precise_table_has_no_noise_to_follow():
    assert few(8, 0.1) == few(8, 1e-4) == 1
    assert few(8, 1e-5) == pytest.approx(0.5)
    assert few(8, 1e-6) == few(8, 0.0 + 1e-24) == 0
    # eight rows, a millionth left: description length, with half the digits of 8 / 1e-8 and three bits for the constant
    exponent, factor = law("x**1.4997"), law("0.9994*x")
    assert price(exponent, 1e-8, [8]) - price(factor, 1e-8, [8]) == pytest.approx(20.0)
