"""One set of options on both faces, constraints, functions of one's own, weights on the command line."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.config import SearchSection, SymbolicConfig
from rl_suite.symbolic.experiment import build_search, options_of, table_of
from rl_suite.symbolic.forms.custom import custom_laws, read_custom, read_functions
from rl_suite.symbolic.laws.constraints import read_constraints

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 3, (60, 2))

# What only one face can have, and what the other calls it.
CONFIG_ONLY = {
    "data": "X",
    "target": "y",
    "checkpoint_every": "nothing to resume",
    "groups": "several regressors",
    "executor": "several regressors",
    "workers": "several regressors",
    "time": "SymbolicODE",
    "ode": "SymbolicODE",
}
ESTIMATOR_ONLY = {
    "random_state": "seed",
    "target_unit": "units of the target",
    "verbose": "always",
    "warm_start": "resume",
}
FIT_ARGUMENTS = {"sample_weight", "y_error"}


def config_of(*settings: str) -> SymbolicConfig:
    config = load_experiment(DEFAULT_CONFIG, ["experiment=symbolic_search", *settings])
    assert isinstance(config, SymbolicConfig)
    return config


def fitted(y: np.ndarray, *, budget: int = 3_000, **options: Any) -> SymbolicRegressor:
    return SymbolicRegressor(budget=budget, random_state=0, **options).fit(X, y)


def test_both_faces_take_the_same_options() -> None:
    own = set(SymbolicConfig.model_fields) - set(SymbolicConfig.__bases__[0].model_fields) - {"search"}
    on_command_line = (own | set(SearchSection.model_fields)) - set(CONFIG_ONLY)
    in_python = set(SymbolicRegressor().get_params()) - set(ESTIMATOR_ONLY)
    at_fit = set(inspect.signature(SymbolicRegressor.fit).parameters)
    assert at_fit >= FIT_ARGUMENTS
    assert on_command_line == in_python | FIT_ARGUMENTS


def test_both_faces_mean_the_same_by_them() -> None:
    config = config_of("search.functions=[add, mul, {hill: 'x**n/(k**n + x**n)'}]", "search.policy=true")
    from rl_suite.symbolic.estimator_options import require_options

    model = SymbolicRegressor(functions=["add", "mul", {"hill": "x**n/(k**n + x**n)"}], policy=True)
    assert options_of(config) == require_options(model)


def csv(folder: Path, y: np.ndarray, *more: tuple[str, np.ndarray]) -> Path:
    path = folder / "table.csv"
    table = np.column_stack([X, y, *(column for _, column in more)])
    np.savetxt(path, table, delimiter=",", header=",".join(["a", "b", "y", *(n for n, _ in more)]), comments="")
    return path


def test_weights_errors_and_losses_on_the_command_line(tmp_path: Path) -> None:
    y = X[:, 0] / X[:, 1]
    path = csv(tmp_path, y, ("w", np.r_[0.0, np.ones(59)]), ("s", np.linspace(1, 2, 60)))
    base = [f"data={path}", "target=y"]
    weighed = table_of(config_of(*base, "sample_weight=w", "columns=[a,b]")).data
    assert weighed.variables == ("a", "b")
    assert weighed.weights is not None
    assert weighed.weights[0] < 1e-9 * weighed.weights[1]
    errors = table_of(config_of(*base, "y_error=s")).data
    assert errors.variables == ("a", "b", "w")
    np.testing.assert_allclose(errors.weights, np.linspace(1, 2, 60) ** -2.0)
    relative = table_of(config_of(*base, "loss=relative")).data.weights
    np.testing.assert_allclose(relative, (np.abs(y).min() / np.abs(y)) ** 2)
    for wrong in ("sample_weight=q", "loss=cubic", "model_selection=worst"):
        with pytest.raises(UserError, match=r"q|cubic|worst"):
            table_of(config_of(*base, wrong))


def test_functions_of_ones_own_are_found_with_their_numbers() -> None:
    hill = 200 * X[:, 0] ** 2.3 / (1.1**2.3 + X[:, 0] ** 2.3)
    model = fitted(hill, functions={"hill": "x**n/(k**n + x**n)"}, inner_constants=False)
    np.testing.assert_allclose(model.predict(X), hill, rtol=1e-6)
    assert model.law_.complexity < 25


def test_a_function_without_numbers_is_a_column_for_programs() -> None:
    y = X[:, 1] ** 2 + np.sin(X[:, 0]) / X[:, 0]
    model = fitted(y, functions=["add", "mul", {"sinc": "sin(x)/x"}])
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-9)


def test_a_number_that_a_formula_repeats_stands_once() -> None:
    first = read_custom("hill", "x**n/(k**n + x**n)").bodies[0]
    numbers = [name for name in first.names if name.startswith("parameter_")]
    assert len(numbers) == len(set(numbers)) == 2
    x = np.linspace(0.1, 3, 40)
    law, tried = next(custom_laws([read_custom("decay", "exp(-r*x)")], x[:, None], 3 * np.exp(-0.7 * x), ("t",)))
    assert tried > 3
    assert any(value == pytest.approx(3.0, rel=1e-6) for value, _ in law.numbers)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        (["add", "sine"], "'sine' is not known"),
        ({"sin": "x"}, "'sin' must be a new name"),
        ({"f": "k*n"}, "has no argument"),
        ({"f": "x*("}, "functions.f:"),
        ({"f": "__import__('os')"}, "functions.f:"),
        ({"f": 3}, "must be a formula"),
        ("add", "must be a list of names"),
        ([], "none is given"),
        ({"f": "+".join(f"a{i}*x" for i in range(12))}, "more than 8"),
    ],
)
def test_bad_functions_are_one_line(functions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_functions(functions, ("add",))
    assert "\n" not in str(caught.value)


def test_every_law_of_the_front_keeps_to_the_constraints() -> None:
    y = np.sin(2 * X[:, 0]) + X[:, 1] + 0.05 * RNG.standard_normal(60)
    rules = {"monotone": {"x0": "increasing"}, "nesting": {"exp": ["exp"]}, "complexity": {"sin": 1}, "positive": True}
    model = fitted(y + 2, constraints=rules)
    line = np.column_stack([np.linspace(X[:, 0].min(), X[:, 0].max(), 200), np.full(200, X[:, 1].mean())])
    for index in range(len(model.front_)):
        values = model.predict(line, index=index)
        assert (np.diff(values) >= -1e-9).all()
        assert (values > 0).all()
    free = fitted(y + 2)
    assert (np.diff(free.predict(line)) < 0).any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"monoton": {}}, "did you mean 'monotone'"),
        ({"monotone": {"x9": "increasing"}}, "'x9' is not known"),
        ({"monotone": {"x0": "up"}}, "increasing, decreasing"),
        ({"positive": "yes"}, "true or false"),
        ({"nesting": {"sine": ["cos"]}}, "did you mean 'sin"),
        ({"complexity": {"exp": 0}}, "whole number from 1"),
        ([1], "must be a mapping"),
    ],
)
def test_bad_constraints_are_one_line(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_constraints(given, {"x0": "x0", "x1": "x1"})


def test_constraints_on_the_command_line_use_the_names_of_the_table(tmp_path: Path) -> None:
    path = csv(tmp_path, X[:, 0] * X[:, 1])
    config = config_of(f"data={path}", "target=y", "constraints={monotone: {a: decreasing}}")
    table = table_of(config)
    search = build_search(config, table.data, table.renamed)
    assert search.options.constraints.monotone == (("a", "decreasing"),)
    wrong = config_of(f"data={path}", "target=y", "constraints={monotone: {c: decreasing}}")
    with pytest.raises(UserError, match="'c' is not known"):
        build_search(wrong, table.data, table.renamed)


def test_names_of_columns_may_be_numbers_and_one_name_is_a_list(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    np.savetxt(path, np.column_stack([X, X[:, 0] / X[:, 1]]), delimiter=",", header="1,b,3", comments="")
    config = config_of(f"data={path}", "target=3", "columns=1", "search.literals=[1,2,3]")
    assert table_of(config).data.variables == ("x_1",)
    assert options_of(config).literals == ("1", "2", "3")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("free_constants=true", "says something of units only"),
        ("columns=[a,a]", "names 'a' twice"),
        ("search.functions=sin", "must be a list of names"),
        ("y_error=0", "a number more than 0"),
        ("search.prior=nofile", "cannot be opened"),
    ],
)
def test_bad_settings_are_one_line_on_the_command_line(tmp_path: Path, setting: str, message: str) -> None:
    base = [f"data={csv(tmp_path, X[:, 0])}", "target=y"]

    def attempt() -> None:
        config = config_of(*base, setting)
        build_search(config, table_of(config).data)

    with pytest.raises(UserError, match=message) as caught:
        attempt()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["x0", "x0"]}, "'x0' is named twice"),
        ({"prior": 3}, "must be a file"),
        ({"random_state": np.random.SeedSequence(5)}, "random_state=SeedSequence"),
        ({"random_state": -1}, "whole number from 0 on"),
        ({"random_state": [1, 2]}, "whole number from 0 on"),
    ],
)
def test_bad_options_are_one_line_in_python(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        SymbolicRegressor(budget=500, **options).fit(X, X[:, 0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "rows"), [("y_error", "a"), ("sample_weight", [["a"]] * 60)])
def test_bad_weights_are_one_line_that_names_them(name: str, rows: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}=.*must be a number, or one for each of the 60 rows"):
        SymbolicRegressor(budget=500).fit(X, X[:, 0], **{name: rows})
