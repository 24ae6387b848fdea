"""Where a law ends, jumps or grows without bound near the rows."""

import json
from pathlib import Path

import numpy as np
import pytest

from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from rl_suite.report.laws import findings_of_laws
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.laws.edges import Edge, edges_of
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.pieces import from_program
from rl_suite.symbolic.laws.polish import Polisher
from rl_suite.symbolic.report import Report

ONE = np.linspace(0.5, 5, 40)[:, None]
TWO = np.column_stack([ONE[:, 0], np.random.default_rng(0).uniform(1, 2, 40)])


def law_of(text: str, names: tuple[str, ...]) -> Law:
    library = Library("full", names, constant=True)
    read = parse(text, library)
    return from_program(read.program, read.constants.tolist(), library).law(library)


def edges(text: str, X: np.ndarray) -> list[Edge]:
    law = law_of(text, ("x", "y")[: X.shape[1]])
    return edges_of(law, X, float(law.predict(X).std()), np.arange(len(X)))


@pytest.mark.parametrize(
    ("text", "kind", "place", "inside"),
    [
        ("log(x - 0.3)", "is not finite", 0.3, False),
        ("sqrt(5.3 - x)", "is not finite", 5.3, False),
        ("1/(x - 2.3)", "grows without bound", 2.3, True),
        ("1/(x - 2.3)^2 + x", "grows without bound", 2.3, True),
        ("x/(x - 0.26)", "grows without bound", 0.26, False),
        ("step(x - 3.1) + x", "jumps", 3.1, True),
        ("x + sign(x - 4)/10", "jumps", 4.0, True),
        ("log(x^2 - 4.4*x + 4.84)", "grows without bound", 2.2, True),
        ("tan(x/2)", "grows without bound", np.pi, True),
    ],
)
def test_an_edge_is_found_where_it_is(text: str, kind: str, place: float, inside: bool) -> None:
    (edge,) = edges(text, ONE)
    assert edge.kind == kind
    assert edge.value == pytest.approx(place, abs=1e-6)
    assert edge.inside == inside


@pytest.mark.parametrize(
    "text",
    ["log(x)", "x^(-3)", "sin(9*x)", "exp(3*x)", "1/(1 + exp(-40*(x - 2)))", "exp(-900*(x - 2)^2)", "abs(x - 2)", "2"],
)
def test_smooth_laws_and_columns_that_keep_their_sign_have_no_edges(text: str) -> None:
    assert edges(text, ONE) == []


def test_the_row_that_the_other_columns_are_from_is_named() -> None:
    (edge,) = edges("x/(y - 2.05)", TWO)
    assert (edge.column, edge.kind) == ("y", "grows without bound")
    assert 1 <= edge.row <= len(TWO)
    assert str(edge).startswith("the law grows without bound at y = 2.05, just outside the range of the rows (1.00")
    assert str(edge).endswith(f"the other columns as in row {edge.row}")


def test_report_page_and_file_say_where_a_law_ends(tmp_path: Path) -> None:
    law = law_of("log(x - 0.3)", ("x",))
    y = law.predict(ONE)
    polisher = Polisher(ONE, y)
    finished = polisher.priced(law)
    report = Report("y", [finished], finished, polisher, "exact", 1)
    said = "the law is not finite at x <= 0.3, just outside the range of the rows (0.5 to 5)"
    assert said in report.certainty()
    report.save(tmp_path / "laws.json")
    written = json.loads((tmp_path / "laws.json").read_text())
    assert written["edges"][0]["column"] == "x"
    found = findings_of_laws(written)
    assert found is not None
    assert any(said[1:] in judgement.text for judgement in found.judgements)


def test_the_estimator_says_where_its_law_ends() -> None:
    x = np.linspace(0.4, 5, 60)[:, None]
    model = SymbolicRegressor(budget=20_000, random_state=0).fit(x, 2 + 1 / (x[:, 0] - 0.3))
    assert [edge.kind for edge in model.edges_] == ["grows without bound"]
    assert model.edges_[0].value == pytest.approx(0.3, abs=1e-6)


def test_each_dataset_is_looked_at() -> None:
    sets = np.repeat([0, 1], 20)
    data = Data(ONE, ONE[:, 0], ("x",), sets=sets, set_names=("a", "b"))
    polisher = Polisher(data.X, data.y, sets)
    finished = polisher.priced(law_of("x", ("x",)), law_of("step(x - 4) + x", ("x",)))
    report = Report("y", [finished], finished, polisher, "budget", 1, ("a", "b"))
    assert [(edge.kind, edge.row > 20) for edge in report.edges] == [("jumps", True)]
