"""Several datasets with one law: the form is shared, measured constants are not."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import evaluate
import train
from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.cli import run_command
from rl_suite.errors import UserError
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.laws.polish import Polisher, pooled
from rl_suite.symbolic.laws.price import price
from rl_suite.symbolic.laws.records import archive_record
from rl_suite.symbolic.search import Search
from rl_suite.symbolic.table import read_tables

DECAYS = ((1.3, 0.7), (2.9, 0.31), (0.5, 1.7))
SMALL = Options(population=100)


def decays(noise=0.0, rows=40):
    """z * a exp(-k t): X (3 * rows, 2), y, sets."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 3.0, (len(DECAYS) * rows, 2))
    sets = np.repeat(np.arange(len(DECAYS)), rows)
    a, k = np.array(DECAYS)[sets].T
    y = a * np.exp(-k * X[:, 0]) * X[:, 1]
    return X, y * (1 + noise * rng.normal(size=len(y))), sets


def search(noise=0.0, budget=40_000):
    X, y, sets = decays(noise)
    return Search(Data(X, y, ("t", "z"), None, "y", sets, ("first", "second", "third")), SMALL, 0, budget)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_one_form_is_found_with_constants_for_each_dataset(noise):
    found = search(noise)
    found.run()
    best = found.archive.best
    assert best.text == "c1*z*exp(c2*t)"
    measured = [law.constants[[e is None for e in law.exact]] for law in best.laws]
    np.testing.assert_allclose(measured, [(a, -k) for a, k in DECAYS], rtol=1e-9 + 5 * noise)


def test_a_number_is_recognised_only_if_it_is_the_same_in_all():
    X, _, sets = decays()
    y = np.array([1.3, 2.9, 0.5])[sets] + 0.5 * X[:, 1] ** 2 * np.array([1.0, 1.0, 1.0])[sets]
    found = Search(Data(X, y, ("t", "z"), None, "y", sets), SMALL, 0, 40_000)
    found.run()
    assert found.archive.best.text == "c1 + z**2/2"
    other = y + 0.25 * X[:, 1] ** 2 * (sets == 2)
    found = Search(Data(X, other, ("t", "z"), None, "y", sets), SMALL, 0, 40_000)
    found.run()
    assert found.archive.best.text == "c1 + c2*z**2"


def test_the_mean_of_measurements_is_weighted_by_their_errors():
    value, error = pooled(np.array([[1.0], [2.0]]), np.array([[0.1], [0.2]]))
    assert value.tolist() == pytest.approx([1.2])
    assert error.tolist() == pytest.approx([0.1 / np.sqrt(1.25)])


def test_one_dataset_is_priced_as_ever_and_several_pay_for_their_constants():
    X, y, sets = decays(0.01)
    found = search(0.01)
    found.run()
    laws = found.archive.best.laws
    together, alone = Polisher(X, y, sets), Polisher(X[sets == 0], y[sets == 0])
    rest = [Polisher(X[sets == s], y[sets == s]).nmse(law) for s, law in enumerate(laws)]
    assert together.nmse(*laws) == pytest.approx(np.mean(rest))
    nmse = alone.nmse(laws[0])
    assert alone.priced(laws[0]).bits == pytest.approx(price(laws[0], nmse, [40]))
    assert together.priced(*laws).bits == pytest.approx(price(laws[0], together.nmse(*laws), [40] * len(laws)))
    assert price(laws[0], nmse, [200, 200]) - price(laws[0], nmse, [400]) == pytest.approx(
        laws[0].n_free * (3 + np.log2(200 / nmse) - 0.5 * np.log2(400 / nmse))
    )


def test_it_resumes_with_the_same_bits(tmp_path):
    whole, first, second = search(0.02), search(0.02), search(0.02)
    for _ in range(4):
        whole.step()
    for _ in range(2):
        first.step()
    save_checkpoint(tmp_path / "search.ckpt", first.state())
    second.restore(load_checkpoint(tmp_path / "search.ckpt"))
    for _ in range(2):
        second.step()
    assert second.evaluations == whole.evaluations
    assert archive_record(second.archive) == archive_record(whole.archive)


def test_the_estimator_takes_labels_and_predicts_with_them():
    X, y, sets = decays()
    labels = np.array(["red", "green", "blue"])[sets]
    model = SymbolicRegressor(budget=40_000, random_state=0).fit(X, y, datasets=labels)
    np.testing.assert_allclose(model.predict(X, labels), y, rtol=1e-9)
    assert str(model.sympy()) == "c1*x1*exp(c2*x0)"
    assert set(model.laws_) == {"red", "green", "blue"}
    with pytest.raises(ValueError, match="needs their labels"):
        model.predict(X)
    with pytest.raises(ValueError, match="'pink' was not fitted"):
        model.predict(X[:1], ["pink"])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y, datasets=labels[:-1])


@pytest.fixture
def files(tmp_path):
    X, y, sets = decays()
    paths = [tmp_path / f"{name}.csv" for name in ("first", "second", "third")]
    for s, path in enumerate(paths):
        rows = [f"{t!r},{z!r},5,{v!r}" for (t, z), v in zip(X[sets == s].tolist(), y[sets == s].tolist(), strict=True)]
        path.write_text("t,z,fixed,y\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return paths


def run(monkeypatch, program, *words):
    monkeypatch.setattr(sys, "argv", ["program", *words])
    try:
        run_command(program.main)
    except SystemExit as ended:
        return ended.code
    return 0


def test_several_files_from_the_command_line(files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = "data=[" + ",".join(str(path) for path in files) + "]"
    words = ("experiment=symbolic_search", data, "target=y", "search.budget=40000", "search.population=100")
    assert run(monkeypatch, train, *words) == 0
    said = capsys.readouterr().out
    assert "y = c1*z*exp(c2*t)" in said
    assert "second: c1 = 2.9 +-" in said
    assert "first.csv: column 'fixed' is constant" in said
    folder = tmp_path / "runs" / "symbolic_search-first+second+third-y" / "0"
    laws = json.loads((folder / "laws.json").read_text(encoding="utf-8"))
    assert laws["datasets"] == ["first", "second", "third"]
    assert len(laws["law"]["constants_of_other_datasets"]) == 2
    pictures = {f"{kind}_{name}.png" for kind in ("law", "fit") for name in ("first", "second", "third")}
    assert {path.name for path in folder.glob("*.png")} == pictures
    assert run(monkeypatch, evaluate, str(folder)) == 0
    assert "c1*z*exp(c2*t)" in capsys.readouterr().out
    assert run(monkeypatch, evaluate, str(folder), f"data={files[0]}") == 2
    assert "measured on 3 datasets" in capsys.readouterr().err


def test_files_that_do_not_fit_together_are_refused(files):
    with pytest.raises(UserError, match="named twice"):
        read_tables([files[0], files[0]], "y")
    other = files[0].with_name("other.csv")
    other.write_text("u,y\n1,2\n2,3\n3,4\n4,6\n", encoding="utf-8")
    with pytest.raises(UserError, match="no column of numbers varies in all"):
        read_tables([files[0], other], "y")
    with pytest.raises(UserError, match=r"other\.csv: 't' cannot be an input"):
        read_tables([files[0], other], "y", columns=["t"])


def test_units_and_a_column_that_only_one_file_has(files):
    more = files[1].read_text(encoding="utf-8").splitlines()
    files[1].write_text("\n".join([more[0] + ",w", *(f"{row},{i}" for i, row in enumerate(more[1:]))]), "utf-8")
    units = {"t": "s", "z": "m", "y": "m"}
    table = read_tables([Path(p) for p in files], "y", units=units, free_constants=True)
    assert table.data.variables == ("t", "z")
    assert any("'w' does not vary in every file" in message for message in table.messages)
    assert table.data.units is not None
    assert np.bincount(table.data.sets).tolist() == [40, 40, 40]
