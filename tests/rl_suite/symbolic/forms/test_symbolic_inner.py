"""Constants inside functions are found by default, with and without noise, beside other variables."""

from collections.abc import Callable

import numpy as np
import pytest

from envs.symbolic.tokens import Library
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.data import Options
from rl_suite.symbolic.forms.inner import inner_laws, waves_in_products
from rl_suite.symbolic.forms.shapes import SHAPES, with_phase
from rl_suite.symbolic.laws.pieces import Piece

Law = Callable[[np.ndarray], np.ndarray]
X1 = np.linspace(0, 6, 120)

ONE_VARIABLE: dict[str, Law] = {
    "wave": lambda x: np.sin(2.3 * x),
    "wave with phase and offset": lambda x: 1.7 * np.sin(4.1 * x + 0.4) - 2.2,
    "decay": lambda x: 2 + 3 * np.exp(-0.37 * x),
    "logistic": lambda x: 5 / (1 + np.exp(-1.3 * (x - 2.2))),
    "peak": lambda x: 1.2 + 3.1 * np.exp(-((x - 2.7) ** 2) / 1.28),
    "damped wave": lambda x: 2.1 * np.exp(-0.31 * x) * np.cos(3.7 * x + 0.3),
    "tanh": lambda x: np.tanh(1.7 * x - 0.6),
    "Michaelis-Menten": lambda x: 3.7 * x / (1.9 + x),
    "Hill": lambda x: 3.7 * x**2.6 / (1.9**2.6 + x**2.6),
    "power": lambda x: x**2.7 + 1.3,
    "two decays": lambda x: 2.3 * np.exp(-0.4 * x) + 1.1 * np.exp(-2.1 * x),
    "logarithm": lambda x: 1.9 * np.log(x + 0.63) - 0.4,
    "bend": lambda x: 1.3 * np.maximum(x - 2.17, 0) + 0.4 * x,
    "trend and season": lambda x: 0.51 * x + 2.1 * np.sin(2.3 * x + 0.4) + 1.3,
    "trend and decay": lambda x: 3.2 * np.exp(-1.37 * x) - 0.42 * x + 0.8,
    "two waves": lambda x: 1.4 * np.sin(2.3 * x + 0.2) + 0.8 * np.cos(4.7 * x),
    "wave of a square": lambda x: 0.9 * np.sin(0.83 * x**2 - 0.4) + 0.3,
    "Gompertz, seen in log y": lambda x: 2.4 * np.exp(-2.9 * np.exp(-0.73 * x)),
    "hyperbolic secant below 0, seen in 1/y": lambda x: -1.9 / np.cosh(0.83 * (x - 2.6)),
    "von Bertalanffy, seen in the cube root": lambda x: (2.1 - 1.7 * np.exp(-0.38 * x)) ** 3,
}


@pytest.mark.parametrize("name", ONE_VARIABLE)
def test_laws_of_one_variable(name: str) -> None:
    y = ONE_VARIABLE[name](X1)
    model = SymbolicRegressor(budget=30_000, random_state=0).fit(X1[:, None], y)
    assert model.stopped_ == "exact", (str(model.law_), model.score(X1[:, None], y))
    far = np.linspace(0.0, 9.0, 50)
    np.testing.assert_allclose(model.predict(far[:, None]), ONE_VARIABLE[name](far), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("law", "low", "high"),
    [
        (lambda X: X[:, 0] * np.exp(-1.7 * X[:, 1]) + X[:, 2], 0.5, 4.0),
        (lambda X: X[:, 1] + (X[:, 0] - X[:, 1]) * np.exp(-0.137 * X[:, 2]), 1.0, 20.0),
        (lambda X: X[:, 0] * np.sin(1.3 * X[:, 1] + 0.2), 0.5, 6.0),
    ],
)
def test_other_variables_may_stand_before_the_function(law: Law, low: float, high: float) -> None:
    X = np.random.default_rng(1).uniform(low, high, (120, 3))
    model = SymbolicRegressor(budget=60_000, random_state=0).fit(X, law(X))
    assert model.stopped_ == "exact", str(model.law_)
    np.testing.assert_allclose(model.predict(1.2 * X), law(1.2 * X), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "law",
    [lambda x: 2.6 * x**3 / np.expm1(1.7 * x), lambda x: 37 / x**5 / np.expm1(3.1 / x)],
)
def test_plancks_law_over_frequencies_and_wavelengths(law: Law) -> None:
    x = np.linspace(0.5, 4.0, 60)
    model = SymbolicRegressor(budget=20_000, random_state=0).fit(x[:, None], law(x))
    assert model.stopped_ == "exact", str(model.law_)
    np.testing.assert_allclose(model.predict(2 * x[:, None]), law(2 * x), rtol=1e-6)


@pytest.mark.parametrize("name", ["wave with phase and offset", "decay", "peak"])
def test_with_noise_the_constants_are_measured(name: str) -> None:
    truth = ONE_VARIABLE[name](X1)
    y = truth + 0.02 * truth.std() * np.random.default_rng(0).standard_normal(len(X1))
    model = SymbolicRegressor(budget=20_000, random_state=0).fit(X1[:, None], y)
    assert np.sqrt(np.mean((model.predict(X1[:, None]) - truth) ** 2)) < 0.01 * truth.std(), str(model.law_)
    assert all(c.error > 0 for c in model.constants_)


def test_functions_that_are_not_allowed_are_not_used() -> None:
    some = list(inner_laws(X1[None] + 0.1, np.sin(2.3 * X1), [Piece(("x",))], ("add", "mul", "exp"), 20, [0]))
    used = {name for piece, _ in some for name in piece.names}
    assert "sin" not in used
    assert "pow" not in used


def test_every_shape_is_what_its_tokens_say() -> None:
    library = Library("full", ["x"], constant=True)
    x = np.linspace(0.3, 2.0, 30)
    for shape in SHAPES:
        assert shape.allowed(Options.functions, x)
        theta = shape.grid(x)[3]
        values = shape.columns(x, theta[None])[0]
        for piece, row in zip(shape.pieces(Piece(("x",)), theta), values, strict=True):
            np.testing.assert_allclose(piece.law(library).predict(x[:, None]), row, rtol=1e-9)


def test_a_wave_has_one_amplitude_and_one_phase() -> None:
    x = np.linspace(0.0, 3.0, 20)
    size, piece = with_phase(SHAPES[0], Piece(("x",)), np.array([2.0]), 3.0, 4.0)
    assert size == pytest.approx(5.0)
    values = 5.0 * piece.law(Library("full", ["x"], constant=True)).predict(x[:, None])
    np.testing.assert_allclose(values, 3 * np.sin(2 * x) + 4 * np.cos(2 * x), atol=1e-12)


def best_of(offers, X: np.ndarray, y: np.ndarray, names: tuple[str, ...]) -> float:
    library = Library("full", names, constant=True)
    return min(float(np.abs(piece.law(library).predict(X.T) / y - 1).max()) for piece, _ in offers)


def test_lorentz_factors_are_written_once_and_found_at_small_speeds() -> None:
    rng = np.random.default_rng(0)
    x, u, t = rng.uniform(1, 100, 150), 10 ** rng.uniform(6, 8, 150), 1e-4 * rng.uniform(0.01, 1, 150)
    X, y = np.array([x, u, t]), (x - u * t) / np.sqrt(1 - u**2 / 2.99792458e8**2)
    offers = list(inner_laws(X, y, [Piece((n,)) for n in "xut"], Options.functions, 4, range(3)))
    assert best_of(offers, X, y, ("x", "u", "t")) < 1e-6
    assert offers[0][0].names.count("sqrt") == 1


def test_waves_of_products_and_quotients() -> None:
    rng = np.random.default_rng(0)
    X = np.array([1e-17 * rng.uniform(0.1, 10, 120), 1e-17 * rng.uniform(0.1, 5, 120), rng.uniform(1, 2, 120)])
    E, t, a = X
    for y in (np.sin(3e34 * E * t) ** 2, a * (2 + np.cos(0.7 * E / t))):
        offers = waves_in_products(X, y, [Piece((n,)) for n in "Eta"], Options.functions)
        assert best_of(offers, X, y, ("E", "t", "a")) < 1e-4
