"""Known parts and skeletons where units are known, on both faces."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.symbolic.units import Units
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import load_experiment
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.config import SymbolicConfig
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.experiment import build_search, hole_of, report_of, table_of
from rl_suite.symbolic.hole import Hole
from rl_suite.symbolic.laws.skeleton import Skeleton

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 3, (80, 3))
NAMES = ("x0", "x1", "x2")


def fitted(y: np.ndarray, units: tuple[str, str, str], target: str, **options: Any) -> SymbolicRegressor:
    named = dict(zip(NAMES, units, strict=True))
    return SymbolicRegressor(budget=20_000, random_state=0, units=named, target_unit=target, **options).fit(X, y)


@pytest.mark.parametrize(
    ("y", "units", "target", "options", "law"),
    [
        # A known part with a unit, one that is a pure number, and one of an angle in degrees.
        (X[:, 0] * X[:, 1] ** 2 / X[:, 2], ("kg", "m/s", "m"), "N", {"known": "x1^2/x2"}, "x0*x1**2/x2"),
        (X[:, 0] * np.sin(X[:, 1] / X[:, 2]), ("m", "s", "s"), "m", {"known": "sin(x1/x2)"}, "x0*sin(x1/x2)"),
        (X[:, 0] * X[:, 2] * np.cos(X[:, 1] * np.pi / 180), ("N", "deg", "m"), "J", {"known": "cos(x1)"},
         "x0*x2*cos(pi*x1/180)"),
        # Skeletons: a pure hole, one with a unit, one under a root, and units of other sizes.
        (X[:, 0] * np.exp(-2 * X[:, 1] / X[:, 2]), ("m", "s", "s"), "m", {"skeleton": "x0*exp(?)"},
         "x0*exp(-2*x1/x2)"),
        (X[:, 0] * X[:, 1] ** 2 / 2, ("kg", "m/s", "m"), "J", {"skeleton": "x0*?"}, "x0*x1**2/2"),
        (np.sqrt(X[:, 0] ** 2 + X[:, 1] * X[:, 2]), ("m", "m", "m"), "m", {"skeleton": "sqrt(x0^2 + ?)"},
         "sqrt(x0**2 + x1*x2)"),
        (X[:, 0] * X[:, 1] ** 2 / 2000, ("g", "m/s", "m"), "J", {"skeleton": "x0*?"}, "x0*x1**2/2000"),
    ],
)  # fmt: skip
def test_known_parts_and_skeletons_go_together_with_units(
    y: np.ndarray, units: tuple[str, str, str], target: str, options: dict[str, Any], law: str
) -> None:
    model = fitted(y, units, target, **options)
    assert str(model.law_) == law
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-9)


def test_a_dimensional_constant_beside_a_known_part() -> None:
    y = 9.81 * X[:, 0] * X[:, 2] + X[:, 0] * X[:, 1] ** 2 / 2
    model = fitted(y, ("kg", "m/s", "m"), "J", known="x0*x1^2/2", free_constants=True)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-7)
    assert len(model.law_.constants) <= 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"known": "x0 + x1"}, "the known part 'x0 \\+ x1': its units do not agree"),
        ({"known": "sin(x0)"}, "the known part 'sin\\(x0\\)': its units do not agree"),
        ({"skeleton": "exp(?)"}, "the skeleton 'exp\\(\\?\\)': exp\\(...\\) cannot have the unit of the target"),
        ({"skeleton": "x0 + ?"}, "what is added to the hole has another unit"),
        ({"skeleton": "?*sin(x0)"}, "the skeleton .*: its units do not agree"),
    ],
)
def test_units_that_do_not_agree_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        fitted(X[:, 0] * X[:, 1], ("kg", "m/s", "m"), "kg*m/s", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "target", "hole"),
    [
        ("?/t", "m/s", "m"),
        ("d/?", "m/s", "s"),
        ("2*?^2 + d*d", "m^2", "m"),
        ("1/?", "s", "1/s"),
        ("d*tanh(? - 1)", "m", "1"),
        ("d - sqrt(?)", "m", "m^2"),
    ],
)
def test_the_unit_of_a_hole(text: str, target: str, hole: str) -> None:
    def units(wanted: str) -> Units:
        return Units.from_text(("d", "t", "k"), {"d": "m", "t": "s", "k": "kg"}, wanted)

    found = Skeleton(text, ("d", "t", "k")).unit_of_hole(units(target))
    assert found.tolist() == units(hole).target.tolist()


def test_errors_of_the_hole_are_those_of_the_target() -> None:
    x = np.linspace(0.1, 6, 120)
    truth = 3 * np.exp(-0.9 * x)
    y = truth + 0.02 * np.random.default_rng(1).standard_normal(len(x))
    y = np.where(y > 0, y, 1e-4)
    data = Hole.of("exp(?)", Data(x[:, None], y, ("x",))).data
    assert data.weights is not None
    np.testing.assert_allclose(data.weights, y**2, rtol=1e-3)
    model = SymbolicRegressor(budget=20_000, random_state=0, skeleton="exp(?)").fit(x[:, None], y)
    assert np.sqrt(np.mean((model.predict(x[:, None]) - truth) ** 2)) < 0.01


def test_known_parts_and_skeletons_with_units_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    y = X[:, 0] * X[:, 1] ** 2 / 2000
    np.savetxt(path, np.column_stack([X[:, :2], y]), delimiter=",", header="m,v,E", comments="")
    for setting in ("known=m*v^2", "skeleton=m*?"):
        words = [f"data={path}", "target=E", "units={m: g, v: m/s, E: J}", setting, "search.budget=20000"]
        config = load_experiment(DEFAULT_CONFIG, ["experiment=symbolic_search", *words])
        assert isinstance(config, SymbolicConfig)
        table = table_of(config)
        hole = hole_of(config, table.data)
        search = build_search(config, table.data if hole is None else hole.data, table.renamed)
        search.run()
        report = report_of(search) if hole is None else report_of(search).inside(hole)
        assert report.chosen.text == "m*v**2/2000"
        assert report.in_si == "m*v**2/2"
        assert json.loads(json.dumps(report.as_json()))["in_si"] == "m*v**2/2"
