"""The estimator as its users expect it: options, weights, limits, selections, one line for bad values."""

import json
import re
from typing import Any

import numpy as np
import pytest
from sklearn.multioutput import MultiOutputRegressor

from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.output.exports import as_rows
from rl_suite.symbolic.search import Search

RNG = np.random.default_rng(0)
X = RNG.uniform(1, 3, (60, 2))
Y = X[:, 0] / X[:, 1]


def fitted(y: np.ndarray = Y, *, budget: int = 3_000, **options: Any) -> SymbolicRegressor:
    return SymbolicRegressor(budget=budget, random_state=0, **options).fit(X, y)


@pytest.mark.parametrize("state", [None, 3, np.int64(3), np.random.RandomState(1), np.random.default_rng(1)])
def test_random_states_of_every_kind(state: Any) -> None:
    assert str(SymbolicRegressor(budget=3_000, random_state=state).fit(X, Y).law_) == "x0/x1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": -5}, "budget=-5: must be a whole number from 1 on"),
        ({"budget": 2.5}, "budget=2.5"),
        ({"max_length": 2}, "max_length=2: must be a whole number from 3 to 128"),
        ({"population": 3}, "population=3"),
        ({"time_limit": 0}, "time_limit=0"),
        ({"loss": "cubic"}, "loss: 'cubic' is not known; known: squared, relative"),
        ({"model_selection": "best?"}, "model_selection"),
        ({"functions": ["add", "sine"]}, "functions: 'sine'"),
        ({"columns": ["x7"]}, "x7"),
        ({"free_constants": True}, "free_constants"),
        ({"units": {"x0": "m", "x1": "s"}}, "target_unit"),
        ({"known": "x0*("}, "known part"),
        ({"known": 3}, "known=3: must be text"),
        ({"columns": "x0"}, "columns='x0': must be a list"),
        ({"units": "kg"}, "units='kg': must be a mapping"),
        ({"target_unit": "J"}, "target_unit: says something with units only"),
        ({"verbose": "yes"}, "verbose='yes': must be True or False"),
        ({"time_limit": "soon"}, "time_limit='soon'"),
        ({"constraints": {"positiv": True}}, "did you mean 'positive'"),
        ({"skeleton": "x0"}, "exactly one hole"),
    ],
)
def test_bad_values_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        SymbolicRegressor(**{"budget": 3_000, **options}).fit(X, Y)
    assert "\n" not in str(caught.value)


def test_options_of_the_command_line_are_here_too() -> None:
    assert str(fitted(np.sin(X[:, 0]) / X[:, 1], known="sin(x0)", functions=["add", "mul", "div"]).law_) == "sin(x0)/x1"
    assert str(fitted(X[:, 0] * np.exp(X[:, 1] ** 2), skeleton="x0*exp(?)").law_) == "x0*exp(x1**2)"
    alone = fitted(X[:, 0] ** 2, columns=["x0"])
    assert [s.name for s in alone.sympy().free_symbols] == ["x0"]
    np.testing.assert_allclose(alone.predict(X), X[:, 0] ** 2)
    units = {"x0": "mol", "x1": "m^3"}
    gas = fitted(8.314 * 300 * X[:, 0] / X[:, 1], units=units, target_unit="Pa", free_constants=True)
    assert str(gas.law_) == "12471*x0/(5*x1)"


def test_weights_and_errors_decide_what_is_fitted() -> None:
    y = Y.copy()
    y[:20] += 5.0
    weights = np.r_[np.full(20, 1e-9), np.ones(40)]
    weighted = SymbolicRegressor(budget=3_000, random_state=0).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(weighted.predict(X), Y, rtol=1e-4)
    errors = SymbolicRegressor(budget=3_000, random_state=0).fit(X, y, y_error=np.r_[np.full(20, 1e5), np.ones(40)])
    np.testing.assert_allclose(errors.predict(X), Y, rtol=1e-4)
    dropped = SymbolicRegressor(budget=3_000, random_state=0).fit(X, y, sample_weight=np.r_[np.zeros(20), np.ones(40)])
    assert str(dropped.law_) == "x0/x1"


def test_a_weighted_line_is_the_weighted_least_squares() -> None:
    x = np.linspace(0, 5, 30)
    y = 2.345 * x + 1.234 + 0.3 * np.random.default_rng(1).standard_normal(30)
    weights = np.linspace(0.2, 3.0, 30)
    model = SymbolicRegressor(budget=100, functions=["add", "mul"], random_state=0)
    model.fit(x[:, None], y, sample_weight=weights)
    line = next(f for f in model.front_ if f.complexity == 5)
    slope, intercept = np.polyfit(x, y, 1, w=np.sqrt(weights))
    np.testing.assert_allclose(line.law.predict(x[:, None]), slope * x + intercept, rtol=1e-8)


def test_relative_errors_make_small_rows_count() -> None:
    x = 10.0 ** np.random.default_rng(0).uniform(-2, 3, 80)
    y = (x**2 + 3 * x) * (1 + 0.01 * np.random.default_rng(1).standard_normal(80))
    model = SymbolicRegressor(budget=10_000, loss="relative", random_state=0).fit(x[:, None], y)
    assert np.abs(model.predict(x[:, None]) / (x**2 + 3 * x) - 1).max() < 0.02


def test_a_time_limit_ends_the_search_and_a_warm_start_goes_on() -> None:
    y = np.random.default_rng(0).standard_normal(60)
    short = SymbolicRegressor(budget=10**7, time_limit=1e-3, stop_at_noise=False, warm_start=True).fit(X, y)
    assert short.stopped_ == "time"
    used = short.evaluations_
    assert used < 10**6
    short.set_params(time_limit=None, budget=5_000).fit(X, y)
    assert short.stopped_ == "budget"
    assert short.evaluations_ >= used + 5_000


def test_an_interrupt_keeps_the_best_law(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    step = Search.step

    def interrupted(self: Search) -> None:
        step(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "step", interrupted)
    model = fitted(budget=10**6)
    assert (model.stopped_, str(model.law_)) == ("interrupted", "x0/x1")
    assert "interrupted after" in capsys.readouterr().err


def test_every_law_of_the_front_can_be_used() -> None:
    y = Y + 0.1 * np.random.default_rng(2).standard_normal(60)
    model = fitted(y)
    rows = as_rows(model.front_)  # of which ``table_`` is a data frame where pandas is installed
    assert json.dumps(rows)
    assert len(model.table_) == len(rows)
    for index, row in enumerate(rows):
        error = np.sqrt(np.mean((model.predict(X, index=index) - y) ** 2) / np.var(y))
        assert error == pytest.approx(row["error"], rel=1e-6)
    with pytest.raises(ValueError, match="the front has"):
        model.predict(X, index=len(rows))
    accurate = fitted(y, model_selection="accuracy")
    assert np.mean((accurate.predict(X) - y) ** 2) <= np.mean((model.predict(X) - y) ** 2) + 1e-12


def test_several_targets_and_two_rows() -> None:
    both = MultiOutputRegressor(SymbolicRegressor(budget=3_000, random_state=0)).fit(X, np.column_stack([Y, X[:, 0]]))
    assert [str(model.law_) for model in both.estimators_] == ["x0/x1", "x0"]
    assert str(SymbolicRegressor(budget=500).fit(X[:2], [1.0, 2.0]).law_) == "1.5000"


def test_progress_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("rl_suite.progress.SECONDS_BETWEEN_LINES", -1.0)
    fitted(verbose=True)
    assert "evaluations" in capsys.readouterr().err
