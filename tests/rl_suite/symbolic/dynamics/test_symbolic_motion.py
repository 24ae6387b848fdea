"""Laws of motion: the weak form, the choice of terms, recovered systems, the estimator and the command line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

import evaluate
import train
from rl_suite.benchmarks.symbolic_ode import SYSTEMS, System, is_recovered, sample, terms_of
from rl_suite.cli import DEFAULT_CONFIG, run_command
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.report.laws import findings_of_laws, front, typeset
from rl_suite.symbolic import SymbolicODE
from rl_suite.symbolic.config import SymbolicConfig
from rl_suite.symbolic.dynamics.experiment import read_system, system_record, trajectories_of
from rl_suite.symbolic.dynamics.identify import monomials
from rl_suite.symbolic.dynamics.sparse import best_subsets
from rl_suite.symbolic.dynamics.system import BUDGET, DEGREE
from rl_suite.symbolic.dynamics.weak import Trajectory, WeakForm, noise_of, smoothing_spline, windows

Values = np.ndarray


def sampled(
    f: Callable[[Values], list[float]], start: list[float], end: float, n: int, noise: float = 0.01
) -> tuple[Values, Values]:
    t = np.linspace(0, end, n)
    X = solve_ivp(lambda _, x: f(x), (0, end), start, t_eval=t, rtol=1e-9, atol=1e-10).y.T
    return t, X + noise * X.std(axis=0) * np.random.default_rng(0).standard_normal(X.shape)


def lotka_volterra(x: Values) -> list[float]:
    return [x[0] - 0.1 * x[0] * x[1], 0.075 * x[0] * x[1] - 1.5 * x[1]]


def van_der_pol(x: Values) -> list[float]:
    return [x[1], 2 * (1 - x[0] ** 2) * x[1] - x[0]]


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_systems_are_recovered_from_one_noisy_trajectory(system: System) -> None:
    t, X = sample(system, 0.01, 0)
    model = SymbolicODE(budget=0).fit(t, X)
    assert is_recovered([terms_of(law, model.names_) for law in model.laws_], system.laws)
    assert all(state.reaches_noise for state in model.system_.states)
    spread = sample(system, 0.0, 0)[1].std(axis=0)
    np.testing.assert_allclose(model.noise_, 0.01 * spread, rtol=0.25)


def test_integration_by_parts_holds_on_the_windows() -> None:
    t = np.sort(np.random.default_rng(1).uniform(0, 5, 800))
    phi, slope = windows(t, 0.8)
    np.testing.assert_allclose(-(slope @ np.sin(t)), phi @ np.cos(t), atol=2e-3)


def test_the_whitened_rows_of_the_true_law_have_unit_variance() -> None:
    t, X = sampled(van_der_pol, [2, 0], 40, 1000, 0.02)
    form = WeakForm.of(Trajectory(t, X))
    true = np.array([van_der_pol(x) for x in X])
    jacobian = np.column_stack([-4 * form.smooth[:, 0] * form.smooth[:, 1] - 1, 2 * (1 - form.smooth[:, 0] ** 2)])
    project, target = form.whitened(1, jacobian)
    assert len(target) > 50
    assert float(np.mean((project @ true[:, 1] - target) ** 2)) == pytest.approx(1.0, abs=0.4)


def test_noise_and_the_spline_that_leaves_it() -> None:
    t = np.linspace(0, 20, 500)
    x = np.sin(t)
    noisy = x + 0.03 * np.random.default_rng(0).standard_normal(500)
    noise = float(noise_of(noisy[:, None])[0])
    assert noise == pytest.approx(0.03, rel=0.15)
    assert float(np.std(smoothing_spline(t, noisy, noise)(t) - x)) < 0.02


def test_the_best_subsets_are_found_where_greed_fails() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 6))
    A[:, 0] = A[:, 1] + A[:, 2] + 0.3 * rng.standard_normal(60)  # alone the best, and never needed
    b = A[:, 1] + A[:, 2]
    one, two, *_ = best_subsets(A, b, 3)
    assert one.columns == (0,)
    assert two.columns == (1, 2)
    np.testing.assert_allclose(two.coefficients, [1, 1])
    wide = np.column_stack([A, rng.standard_normal((60, 100))])
    assert {1, 2} <= set(best_subsets(wide, b, 4)[-1].columns)


def test_the_library_is_cut_where_it_would_be_too_large() -> None:
    assert len(monomials(3, 3)) == 20
    assert max(sum(powers) for powers in monomials(12, 3)) == 1


def test_a_law_that_is_no_sum_of_few_terms_is_searched() -> None:
    t, X = sampled(lambda x: [x[1], -2.5 * np.sin(x[0]) - 0.1 * x[1]], [2.5, 0], 20, 500)
    model = SymbolicODE(budget=10_000).fit(t, X, names=["angle", "speed"])
    assert model.laws_[1].sympy().has(sympy.sin)
    assert model.system_.states[1].by_search
    assert np.abs(model.predict(X)[:, 1] - (-2.5 * np.sin(X[:, 0]) - 0.1 * X[:, 1])).max() < 0.03
    assert model.follow()[0].until == pytest.approx(20)


def test_several_trajectories_share_their_laws() -> None:
    parts = [sampled(lotka_volterra, start, 8, 160) for start in ([10, 5], [20, 12])]
    model = SymbolicODE(budget=0).fit([t for t, _ in parts], [X for _, X in parts], names=["prey", "hunters"])
    assert [law.sympy().count(sympy.Symbol("prey", real=True)) for law in model.laws_] == [2, 1]
    assert len(model.follow()) == 2
    assert len(model.plot().axes) == 3
    simulated = model.simulate(np.linspace(0, 2, 20), [10, 5])
    assert simulated.shape == (20, 2)
    assert model.latex()[0].startswith(r"\frac{d prey}{dt} = ")


@pytest.mark.parametrize(
    ("t", "X", "message"),
    [
        (np.arange(5.0), np.ones((5, 2)), "at least 20 samples"),
        (np.r_[0.0, np.arange(29.0)], np.random.default_rng(0).random((30, 2)), "times must increase; row 1"),
        (np.arange(30.0), np.full((30, 1), np.nan), "finite"),
        (np.arange(30.0), np.ones((30, 2)), "no state changes"),
        (np.arange(29.0), np.ones((30, 2)), r"t must be \(n,\)"),
    ],
)
def test_bad_trajectories_are_one_line(t: Values, X: Values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SymbolicODE().fit(t, X)


@pytest.fixture
def trajectory(tmp_path: Path) -> Path:
    t, X = sampled(lotka_volterra, [10, 5], 12, 240)
    path = tmp_path / "pond.csv"
    np.savetxt(path, np.column_stack([t, X]), delimiter=",", header="t,hares,lynx 2", comments="")
    return path


def test_the_command_line_finds_draws_resumes_and_evaluates(
    trajectory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    words = ["experiment=symbolic_search", f"data={trajectory}", "time=t", "target=hares,lynx 2", f"runs_dir={runs}"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    run_command(train.main)
    said = capsys.readouterr().out
    assert "dhares/dt = " in said
    assert "follow the data to the end" in said
    (folder,) = (path.parent for path in runs.glob("*/*/laws.json"))
    content = json.loads((folder / "laws.json").read_text())
    assert [equation["target"] for equation in content["equations"]] == ["dhares/dt", "dlynx_2/dt"]
    assert (folder / "trajectory.png").stat().st_size > 10_000
    page = (folder / "report.html").read_text()
    assert page.count("<mfrac><mrow><mi>d</mi>") >= 2
    assert "follows the laws below" in page
    monkeypatch.setattr(sys, "argv", ["evaluate.py", str(folder)])
    run_command(evaluate.main)
    assert "hares" in capsys.readouterr().out


def test_settings_that_say_nothing_of_motion_are_refused(trajectory: Path) -> None:
    base = {"data": str(trajectory), "time": "t", "target": "hares,lynx 2"}
    cases = [
        (["known=sin(hares)"], "known says nothing of laws of motion"),
        (["loss=relative"], "loss says nothing"),
        (["target=hares,hares"], "each state once"),
        (["target=hares,t"], "not the time"),
        (["target=hares,foxes"], "no column 'foxes'"),
        (["time=when"], "no column 'when'"),
    ]
    for words, message in cases:
        settings = base | dict(word.split("=", 1) for word in words)
        config = load_experiment(
            DEFAULT_CONFIG, ["experiment=symbolic_search", *(f"{k}={v}" for k, v in settings.items())]
        )
        assert isinstance(config, SymbolicConfig)
        with pytest.raises(UserError, match=message):
            trajectories_of(config)
    config = load_experiment(DEFAULT_CONFIG, ["experiment=symbolic_search"])
    assert isinstance(config, SymbolicConfig)
    assert (config.ode.degree, config.ode.budget) == (DEGREE, BUDGET)


def test_a_system_is_kept_as_values_and_one_of_others_is_refused() -> None:
    t, X = sampled(lotka_volterra, [10, 5], 12, 240)
    system = SymbolicODE(budget=0).fit(t, X, names=["x", "y"]).system_
    again = read_system(json.loads(json.dumps(system_record(system))), ("x", "y"))
    np.testing.assert_array_equal(again.laws[0].predict(X), system.laws[0].predict(X))
    with pytest.raises(UserError, match="does not fit"):
        read_system(system_record(system), ("a", "b"))
    with pytest.raises(UserError, match="does not fit"):
        read_system({"states": 3}, ("x", "y"))


def test_the_page_of_a_strangers_file_shows_nothing_it_should_not() -> None:
    assert findings_of_laws({"equations": [1, {"law": None}]}) is None
    nested = {"equations": [{"equations": [{"law": {"formula": "x"}}]}]}
    assert typeset(nested) == ""
    assert front(nested) == []
    assert "<script>" not in typeset({"equations": [{"target": "<script>", "law": {"formula": "<script>"}}]})
