"""Outliers are left out and named; losses that forgive them; nothing is forgiven where nothing is wrong."""

import numpy as np
import pytest

from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.laws.pieces import from_program
from rl_suite.symbolic.laws.polish import Finished, Polisher
from rl_suite.symbolic.report import Report
from rl_suite.symbolic.robust import blinding, loss_weights, outliers, reweighed
from rl_suite.symbolic.search import Search

SMALL = Options(population=100)


def table(seed: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(1, 3, (150, 2))
    y = 2 * X[:, 0] ** 2 / X[:, 1]
    return X, y * (1 + noise * rng.standard_normal(150))


def line(x: np.ndarray, y: np.ndarray) -> tuple[Finished, Data]:
    library = Library("full", ["x"], constant=True)
    expression = parse("1.0*x + 0.5", library)
    law = from_program(expression.program, expression.constants.tolist(), library).law(library)
    data = Data(x[:, None], y, ("x",))
    return Polisher(data.X, y).priced(law), data


@pytest.mark.parametrize(("share", "noise"), [(0.0067, 0.0), (0.05, 0.0), (0.02, 0.02)])
def test_the_law_of_most_rows_is_found_and_the_others_are_named(share: float, noise: float) -> None:
    X, y = table(3, noise)
    rows = np.random.default_rng(4).permutation(150)[: max(1, round(share * 150))]
    y[rows] *= np.where(np.arange(len(rows)) % 2, -4.0, 10.0)
    search = Search(Data(X, y, ("x0", "x1")), SMALL, 0, 30_000)
    search.run()
    assert search.outliers.tolist() == sorted(rows.tolist())
    report = Report.of(search.findings(), search.given, search.reason, search.evaluations)
    assert "x0**2/x1" in report.chosen.text
    first = min(rows) + 1
    assert any(f"outlier, left out: row {first} is" in text for text in report.certainty())
    assert [outlier["row"] for outlier in report.as_json()["outliers"]] == (np.sort(rows) + 1).tolist()


@pytest.mark.parametrize("loss", ["huber", "absolute"])
def test_other_losses_find_the_law_of_a_heavy_tail(loss: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(1, 5, 120)
    y = 3 * x**2 + 0.5 * rng.standard_t(1.2, 120)
    search = Search(Data(x[:, None], y, ("x",)), Options(population=100, loss=loss), 0, 8_000)
    search.run()
    grid = np.linspace(1.5, 4.5, 20)[:, None]
    np.testing.assert_allclose(search.law.predict(grid), 3 * grid[:, 0] ** 2, rtol=0.03)


def test_nothing_is_left_out_of_a_pole_a_heavy_tail_or_plain_noise() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(1.05, 3, 100)
    for y in (1 / (x - 1), np.exp(3 * x), 2 * x + rng.standard_normal(100)):
        search = Search(Data(x[:, None], y, ("x",)), SMALL, 0, 6_000)
        search.run()
        assert len(search.outliers) == 0


def test_an_outlier_must_be_worth_its_price() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0, 5, 40)
    y = x + 0.5 + 0.1 * rng.standard_normal(40)
    near, far = y.copy(), y.copy()
    near[7] += 0.4
    far[7] += 2.0
    for target, expected in ((y, []), (near, []), (far, [7])):
        law, data = line(x, target)
        assert np.flatnonzero(outliers([law], data)).tolist() == expected
    few, data = line(x[:12], far[:12])
    assert not outliers([few], data).any()


def test_weights_follow_the_slope_of_the_loss() -> None:
    residual = np.array([0.0, 1.0, -1.0, 1.0, -1.0, 100.0])
    spread = 1.4826
    huber, absolute = loss_weights("huber", residual), loss_weights("absolute", residual)
    assert huber is not None
    assert absolute is not None
    np.testing.assert_allclose(huber, [1, 1, 1, 1, 1, 1.345 * spread / 100])
    np.testing.assert_allclose(absolute[1:], spread / np.abs(residual[1:]))
    x = np.arange(60.0)
    y = np.where(x % 3 == 0, x + 7, x + 0.5)
    law, data = line(x, y)
    weights = reweighed(data, "absolute", law, [law])
    assert weights is not None
    assert weights[x % 3 == 0].max() < 0.1 * np.median(weights)


def test_a_search_with_outliers_resumes_with_the_same_bits(tmp_path) -> None:
    X, y = table(5)
    y[3] *= 10

    def fresh() -> Search:
        return Search(Data(X, y, ("x0", "x1")), SMALL, 1, 12_000)

    whole, first, second = fresh(), fresh(), fresh()
    whole.run()
    while len(first.outliers) == 0:
        first.step()
    save_checkpoint(tmp_path / "search.ckpt", first.state())
    second.restore(load_checkpoint(tmp_path / "search.ckpt"))
    assert second.outliers.tolist() == [3]
    second.run()
    assert (second.evaluations, second.law.infix()) == (whole.evaluations, whole.law.infix())


def test_the_estimator_names_outliers_and_resamples_rows() -> None:
    rng = np.random.default_rng(6)
    x = rng.uniform(1, 5, 60)
    y = 2.3 * x + 0.7 + 0.1 * rng.standard_normal(60)
    y[[5, 40]] = [30.0, -12.0]
    model = SymbolicRegressor(budget=3_000, population=100, loss="huber", random_state=0)
    model.fit(x[:, None], y, sample_weight=np.where(np.arange(60) == 3, 0.0, 1.0))
    assert model.outliers_.tolist() == [5, 40]
    before = model.constants_
    assert [c.value for c in model.bootstrap(50)] == [c.value for c in before]
    assert all(c.interval is not None for c in model.constants_)
    with pytest.raises(ValueError, match="samples=1: must be"):
        model.bootstrap(1)


@pytest.mark.parametrize(("factor", "rows"), [(1e3, [11]), (1e9, [50]), (1e6, [3, 90])])
def test_rows_that_hide_all_others_are_named_too(factor: float, rows: list[int]) -> None:
    X, y = table(7)
    y[rows] *= factor
    search = Search(Data(X, y, ("x0", "x1")), SMALL, 0, 30_000)
    search.run()
    assert search.outliers.tolist() == rows
    assert str(search.law) == "2*x0**2/x1"


def test_a_constant_inside_a_function_is_found_beside_an_outlier() -> None:
    x = np.linspace(0, 6, 120)
    y = 5 / (1 + np.exp(-1.3 * (x - 2.2)))
    y[40] += 9
    search = Search(Data(x[:, None], y, ("x",)), SMALL, 0, 30_000)
    search.run()
    assert search.outliers.tolist() == [40]
    assert search.reason == "exact"


@pytest.mark.parametrize("loss", ["huber", "absolute"])
def test_losses_that_forgive_name_a_fifth_of_the_rows(loss: str) -> None:
    X, y = table(8)
    rows = np.sort(np.random.default_rng(2).permutation(150)[:30])
    y[rows] *= 6
    search = Search(Data(X, y, ("x0", "x1")), Options(population=100, loss=loss), 0, 20_000)
    search.run()
    assert search.outliers.tolist() == rows.tolist()
    assert str(search.law) == "2*x0**2/x1"


def test_a_heavy_tail_that_is_a_law_is_no_outlier() -> None:
    rng = np.random.default_rng(1)
    X = 10 ** rng.uniform(-2, 2, (100, 3))
    X[4] = 1e4
    y = np.sqrt(X[:, 0] ** 3 * X[:, 1] + np.sin(X[:, 2]) ** 2 / X[:, 1])
    assert np.flatnonzero(blinding(y)).tolist() == [4]
    search = Search(Data(X, y, ("a", "b", "c")), SMALL, 0, 12_000)
    search.run()
    assert len(search.outliers) == 0
