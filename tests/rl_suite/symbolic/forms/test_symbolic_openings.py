"""What a search begins with: quotients, factors that are taken out, dimensionless groups."""

from fractions import Fraction

import numpy as np
import pytest

from envs.symbolic.benchmarks import add_noise, problem
from envs.symbolic.tokens import Library
from envs.symbolic.units import Units
from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.evolution.frames import make_target
from rl_suite.symbolic.forms.angles import angle_openings
from rl_suite.symbolic.forms.inputs import dimensionless_groups, inputs_of, product_with_unit
from rl_suite.symbolic.forms.openings import factors_of, openings, peeled_openings
from rl_suite.symbolic.forms.rational import rational_laws
from rl_suite.symbolic.laws.judge import judge
from rl_suite.symbolic.laws.pieces import Piece
from rl_suite.symbolic.laws.polish import Polisher
from rl_suite.symbolic.search import Search

RNG = np.random.default_rng(5)
NAMES = ("a", "b", "c")
X = RNG.uniform(1.0, 5.0, (3, 200))
LIBRARY = Library("full", NAMES, constant=True)
PIECES = [Piece((name,)) for name in NAMES]


def predictions(pieces):
    return [piece.law(LIBRARY).predict(X.T) for piece in pieces]


@pytest.mark.parametrize(
    "y",
    [
        (X[0] + X[1]) / (X[2] + X[0]),
        X[0] * X[1] / (X[1] + 3 * X[2]),
        (2 + X[0] * X[1]) / (1 + 5 * X[2] ** 2),
        1 / (X[0] - 7 * X[1] ** 2),
    ],
)
def test_quotients_of_polynomials_are_found_exactly_and_short(y):
    *_, last = rational_laws(y, X, PIECES)
    np.testing.assert_allclose(last.law(LIBRARY).predict(X.T), y, rtol=1e-8)
    assert len(last.numbers) <= 4


def test_a_quotient_is_found_through_noise_and_none_where_there_is_none():
    y = X[0] * X[1] / (X[1] + 3 * X[2])
    noisy = y * (1 + 0.01 * RNG.normal(size=200))
    errors = [np.mean((values - y) ** 2) / np.var(y) for values in predictions(rational_laws(noisy, X, PIECES))]
    assert min(errors) < 1e-3
    assert not list(rational_laws(RNG.normal(size=200), X, PIECES))


def test_factors_are_taken_out_where_the_rest_does_not_hold_them():
    y = 3 * X[0] ** 2 / X[1] * (1 + np.sin(2 * X[2]) ** 2)
    first, second, *_ = factors_of(X, y)
    assert {tuple(np.flatnonzero(first)), tuple(np.flatnonzero(second))} <= {(0,), (1,), (0, 1)}
    assert second.tolist() == [2.0, -1.0, 0.0]
    assert factors_of(X, y - y) == []


def test_openings_are_laws_of_the_target_itself():
    y = np.sqrt((X[0] + 2 * X[1]) / X[2])
    target = make_target("square", X, y)
    assert min(np.abs(values - y).max() for values in predictions(p for p, _ in openings(target, X, PIECES))) < 1e-7


@pytest.mark.parametrize(("noise", "rows"), [(0.0, 200), (0.01, 1000)])
def test_gravity_between_two_points_in_space_is_found(noise, rows):
    p, rng = problem("I.9.18"), np.random.default_rng(0)
    values, y = p.sample(rng, rows)
    found = Search(Data(values, add_noise(y, noise, rng), p.variables), Options(population=50), 0, 100_000)
    found.step()
    assert judge(found.law, p, noise).recovered, found.law.infix()


def test_groups_are_minimal_and_pure():
    units = Units.from_text(
        ["E", "t", "h", "x", "angle", "v"],
        {"E": "J", "t": "s", "h": "J*s", "x": "m", "angle": "1", "v": "m/s"},
        "m^2/s",
    )
    groups = dimensionless_groups(units.variables)
    assert [0, 1, 0, -1, 0, 1] in [(g * np.sign(g[1])).tolist() for g in groups]
    assert [1, 1, -1, 0, 0, 0] in [g.tolist() for g in groups]
    for group in groups:
        assert not (group @ units.variables).any()
        assert group[4] == 0
    assert product_with_unit(units) == (0, 0, 0, 1, 0, 1)


def test_the_scale_has_the_unit_of_the_target_and_roots_are_allowed():
    units = Units.from_text(["length", "g"], {"length": "m", "g": "m/s^2"}, "s")
    inputs = inputs_of(np.array([[4.0, 1.0], [9.0, 1.0]]), ("length", "g"), units, None)
    assert inputs.scale == (Fraction(1, 2), Fraction(-1, 2))
    assert inputs.scale_of(inputs.columns).tolist() == [2.0, 3.0]
    assert inputs.scaled(Piece(("length",))).names == ("mul", "div", "sqrt", "length", "sqrt", "g", "length")
    no_unit = Units.from_text(["length", "g"], {"length": "m", "g": "m/s^2"}, "1")
    assert product_with_unit(no_unit) == ()


def test_roots_of_negative_numbers_are_no_factors():
    signed = np.where(RNG.random(200) < 0.5, -1.0, 1.0) * X[0]
    values = np.array([signed, X[1]])
    y = np.sqrt(np.abs(signed)) * (X[1] + 2.0)
    assert factors_of(values, y)[0].tolist() == [0.5, 0.0]
    assert list(peeled_openings(values, y, PIECES[:2])) == []


@pytest.mark.parametrize("name", ["III.8.54", "I.29.16"])
def test_units_make_laws_of_groups_easy(name):
    p = problem(name)
    values, y = p.sample(np.random.default_rng(0), 200)
    found = Search(Data(values, y, p.variables, p.dimensions()), Options(), 0, 150_000)
    found.run()
    assert judge(found.law, p).recovered, found.law.infix()


def test_measured_rows_may_be_fewer_than_columns():
    found = Search(Data(X.T[:6], X[0, :6] ** 2, NAMES), Options(population=20), 0, 200)
    found.run()
    assert Polisher(X.T, X[0] ** 2).nmse(found.law) < 1e-20


def least_error(offers, columns, y, names):
    library = Library("full", names, constant=True)
    errors = [np.abs(piece.law(library).predict(columns.T) - y).max() for piece, _ in offers]
    return min((e for e in errors if np.isfinite(e)), default=np.inf)


@pytest.mark.parametrize(
    "formula",
    [
        lambda a, b, t: np.sqrt(a**2 + b**2 - 2 * a * b * np.cos(t)),
        lambda a, b, t: 3.7 * b / (a - 2.2 * np.sin(t)),
        lambda a, b, t: 0.3 * a * np.cos(t) * (b - 1.7 / b**2),
    ],
)
def test_lengths_beside_the_cosine_or_sine_of_an_angle(formula):
    columns = np.random.default_rng(2).uniform([[3.0], [1.0], [0.0]], [[9.0], [2.0], [6.0]], (3, 120))
    y = formula(*columns)
    assert least_error(angle_openings(columns, y, PIECES), columns, y, NAMES) < 1e-7


def test_the_difference_of_two_angles():
    names = ("a", "b", "s", "t")
    columns = np.random.default_rng(2).uniform(0.5, 3.0, (4, 150))
    a, b, s, t = columns
    y = 1 / (a**2 + b**2 + 1.3 * a * b * np.cos(s - t))
    offers = angle_openings(columns, y, [Piece((name,)) for name in names])
    assert least_error(offers, columns, y, names) < 1e-7


def test_lengths_of_any_size_are_no_angles():
    columns = 1e3 * np.random.default_rng(2).uniform(1.0, 3.0, (3, 60))
    assert not list(angle_openings(columns, columns[0] ** 2, PIECES))
