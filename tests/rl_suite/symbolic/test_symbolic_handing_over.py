"""Laws for others: files without pickle, code that runs, tables, figures, and which law of a front is taken."""

import ctypes
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from rl_suite.errors import UserError
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.pieces import from_program
from rl_suite.symbolic.laws.polish import Finished
from rl_suite.symbolic.output.choice import choose
from rl_suite.symbolic.output.exports import as_rows, c_code, latex_table, python_code, torch_module
from rl_suite.symbolic.table import formula_names

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 3, (60, 2))
Y = 2.31 * X[:, 0] / X[:, 1] + 0.05 * RNG.standard_normal(60)

FORMULAS = [
    "0.5*m*v^2 - sin(m)/cos(v)",
    "min(m, 2*v) + max(m, 1.5) + atan2(m, v) + sign(m - 1) + step(v - 1.2)",
    "exp(-m) + log(v) + sqrt(abs(m)) + (m + 1)^3 + 1/v + m^1.7",
    "tan(m/9) + asin(m/4) + acos(v/4) + atan(m) + sinh(m) + cosh(v) + tanh(m) - (-v)",
]


def law_of(text: str) -> Law:
    library = Library("full", ["m", "v"], constant=True)
    read = parse(text, library)
    return from_program(read.program, read.constants.tolist(), library).law(library)


@pytest.fixture(scope="module")
def model() -> SymbolicRegressor:
    return SymbolicRegressor(budget=3_000, random_state=0).fit(X, Y)


@pytest.mark.parametrize("text", FORMULAS)
def test_python_code_computes_the_law(text: str) -> None:
    law = law_of(text)
    scope: dict[str, Any] = {}
    exec(python_code(law), scope)
    np.testing.assert_allclose(scope["law"](X[:, 0], X[:, 1]), law.predict(X), rtol=1e-12)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_c_code_computes_the_law(tmp_path: Path) -> None:
    for number, text in enumerate(FORMULAS):
        law = law_of(text)
        source, library = tmp_path / f"law{number}.c", tmp_path / f"law{number}.so"
        source.write_text(c_code(law))
        command = [
            "gcc",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-O1",
            "-shared",
            "-fPIC",
            "-o",
            str(library),
            str(source),
            "-lm",
        ]
        subprocess.run(command, check=True, capture_output=True)
        function = ctypes.CDLL(str(library)).law
        function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double] * 2
        np.testing.assert_allclose([function(*row) for row in X.tolist()], law.predict(X), rtol=1e-12)


def test_reserved_names_are_no_arguments() -> None:
    library = Library("full", ["int", "lambda"], constant=True)
    read = parse("int*lambda", library)
    law = from_program(read.program, [], library).law(library)
    scope: dict[str, Any] = {}
    exec(python_code(law), scope)
    assert scope["law"](2.0, 3.0) == 6.0
    assert "double int_, double lambda_" in c_code(law)


@pytest.mark.parametrize("text", FORMULAS)
def test_torch_module_computes_the_law_and_learns(text: str) -> None:
    law = law_of(text)
    module = torch_module(law)
    values = module(torch.tensor(X))
    np.testing.assert_allclose(values.detach().numpy(), law.predict(X), rtol=1e-9)
    values.sum().backward()
    (measured,) = module.parameters()
    assert measured.grad is not None
    assert torch.isfinite(measured.grad).all()


def test_a_constant_law_has_the_shape_of_the_columns() -> None:
    library = Library("full", ["m"], constant=True)
    law = from_program(library.encode(["c"]), [2.5], library).law(library)
    scope: dict[str, Any] = {}
    exec(python_code(law), scope)
    assert scope["law"](np.zeros(3)).tolist() == [2.5, 2.5, 2.5]
    assert torch_module(law)(torch.zeros(4, 1)).shape == (4,)


def test_the_estimator_hands_over_its_laws(model: SymbolicRegressor) -> None:
    scope: dict[str, Any] = {}
    exec(model.numpy_code(), scope)
    np.testing.assert_allclose(scope["law"](X[:, 0], X[:, 1]), model.predict(X), rtol=1e-12)
    assert "double law(double x0, double x1)" in model.c_code(index=0)
    np.testing.assert_allclose(model.torch()(torch.tensor(X)).detach().numpy(), model.predict(X), rtol=1e-9)
    table = model.latex_table()
    assert table.count(r"\\") == len(model.front_) + 1
    assert table.startswith(r"\begin{tabular}{lrrr}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_the_latex_table_is_typeset(model: SymbolicRegressor, tmp_path: Path) -> None:
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(head + latex_table(model.front_) + "\\end{document}\n")
    subprocess.run(["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_the_table_is_a_data_frame_where_pandas_is_installed(
    model: SymbolicRegressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(model.table_, list) or hasattr(model.table_, "columns")
    pandas = ModuleType("pandas")
    pandas.__spec__ = sys.__spec__
    pandas.DataFrame = lambda rows: ("frame", rows)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    kind, rows = model.table_
    assert kind == "frame"
    assert set(rows[0]) == {"complexity", "error", "bits", "law"}


def test_a_model_is_saved_as_values_and_read_back(model: SymbolicRegressor, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    model.save(path)
    again = SymbolicRegressor.load(path)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.predict(X, index=0), model.predict(X, index=0))
    assert str(again.law_) == str(model.law_)
    assert as_rows(again.front_) == as_rows(model.front_)
    assert again.constants_ == model.constants_
    assert again.get_params() == model.get_params()
    with pytest.raises(ValueError, match="has no data"):
        again.plot()
    assert len(again.plot(X, Y).axes) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("front"), "front"),
        (lambda c: c.update(extra=1), "extra"),
        (lambda c: c["chosen"].update(tokens=["add", "x0"]), "ends before"),
        (lambda c: c["chosen"].update(tokens=["evil"]), "evil"),
        (lambda c: c["chosen"].update(constants=[1, 2, 3, 4, 5, 6]), "number for each"),
        (lambda c: c.update(columns=[0, 7]), "places"),
        (lambda c: c.update(columns=[0, 0]), "places"),
        (lambda c: c.update(variables=["x0", "__class__"]), "variable name"),
        (lambda c: c["parameters"].update(cls="os"), "unknown parameter"),
        (lambda c: c.update(n_features=-1), "n_features"),
    ],
)
def test_a_strangers_file_is_one_line(model: SymbolicRegressor, tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "model.json"
    model.save(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        SymbolicRegressor.load(path)
    assert "\n" not in str(caught.value)


def test_no_model_at_all_is_one_line(tmp_path: Path) -> None:
    for content in ("", "[]", "{", '{"format": "other"}'):
        (tmp_path / "m.json").write_text(content)
        with pytest.raises(UserError, match="not a saved model"):
            SymbolicRegressor.load(tmp_path / "m.json")
    with pytest.raises(UserError):
        SymbolicRegressor.load(tmp_path / "nowhere.json")


def finished(text: str, nmse: float, bits: float) -> Finished:
    return Finished((law_of(text),), nmse, bits, 60)


def test_which_law_is_taken() -> None:
    flat, steep, last = finished("1", 1.0, 50.0), finished("m*v", 1e-3, 20.0), finished("m*v + m*m*m", 9e-4, 30.0)
    front = [flat, steep, last]
    assert choose(front, steep, "bits") is steep
    assert choose(front, steep, "accuracy") is last
    assert choose(front, last, "best") is steep
    assert choose([flat, last], steep, "best") is steep


def test_the_figure_shows_fit_residuals_and_front(model: SymbolicRegressor) -> None:
    fit, residuals, front = model.plot().axes
    assert len(fit.lines) == 2
    np.testing.assert_allclose(residuals.lines[1].get_ydata(), Y - model.predict(X), atol=1e-12)
    assert len(front.lines[0].get_xdata()) == len(model.front_)


def test_the_chosen_law_is_listed_though_a_simpler_one_may_have_less_error() -> None:
    c = np.array([0.02, 0.02, 0.06, 0.06, 0.11, 0.11, 0.22, 0.22, 0.56, 0.56, 1.1, 1.1])  # Puromycin
    rate = np.array([76.0, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200])
    fitted = SymbolicRegressor(budget=12_000, random_state=0).fit(c[:, None], rate)
    assert str(fitted.law_) in [finished.text for finished in fitted.front_]
    axes = fitted.plot().axes
    assert len(axes[0].lines[1].get_xdata()) > 100  # the law between the rows
    assert (np.diff(axes[2].lines[1].get_ydata()) <= 0).all()


def test_no_name_of_a_column_is_a_word_of_the_language(tmp_path: Path) -> None:
    library = Library("full", ["lambda", "M_PI", "None", "int", "int_"], constant=True)
    expression = parse("lambda + 2*M_PI + 4*None + 8*int + 16*int_", library)
    law = from_program(expression.program, expression.constants.tolist(), library).law(library)
    scope: dict[str, Any] = {}
    exec(python_code(law), scope)
    assert scope["law"](*np.eye(5)).tolist() == [1, 2, 4, 8, 16]
    arguments = re.findall(r"double (\w+)[,)]", c_code(law))
    assert len(set(arguments)) == 5
    assert not {"M_PI", "int", "lambda"} & set(arguments)


def test_names_in_formulas_keep_those_that_are_plain() -> None:
    assert formula_names(["a b", "a_b", "a-b", "sin"]) == ["a_b_", "a_b", "a_b__", "sin_"]
