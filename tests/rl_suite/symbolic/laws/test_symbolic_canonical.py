"""The printed law is the law: one form for text, sympy and program, with what signs the data have."""

from dataclasses import replace

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.laws.canonical import canonical, exact_number, settled_laws, signs_of
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import from_program

X = np.random.default_rng(0).uniform(0.5, 2.0, (20, 2))
POSITIVE = {"x": "positive", "y": "positive"}


def law(text: str) -> Law:
    library = Library("full", ["x", "y"], constant=True)
    expression = parse(text, library)
    return from_program(expression.program, expression.constants.tolist(), library).law(library)


@pytest.mark.parametrize(
    ("text", "signs", "printed"),
    [
        ("sqrt(x^2)", {}, "Abs(x)"),
        ("sqrt(x^2)", POSITIVE, "x"),
        ("x*sqrt(x^2)", {}, "x*Abs(x)"),
        ("2*sqrt(sin(x)*cos(y))^2", {}, "2.0*sin(x)*cos(y)"),
        ("log(0.5*exp(sin(x)))", {}, "sin(x) - 0.69315"),
        ("sin(4)*x + sin(pi^2)^2", {}, "0.18516 - 0.7568*x"),
        ("exp(0.3*x + 1.4)*2.5", {}, "10.138*exp(0.3*x)"),
        ("(2.5*x + 5)/(0.5*x + 2)", {}, "(5.0*x + 10.0)/(x + 4.0)"),
        ("1/(0.5 + 2*exp(-1.3*x))", {}, "2.0/(1 + 4.0*exp(-1.3*x))"),
        ("exp(2.7*log(x)) + 1.3", POSITIVE, "x**2.7 + 1.3"),
        ("log(x^2)", {}, "log(x**2)"),
    ],
)
def test_a_law_is_written_in_one_form(text: str, signs: dict[str, str], printed: str) -> None:
    given_law = law(text)
    found = canonical(given_law, signs)
    assert str(found) == printed
    before = given_law.predict(X)
    fine = np.isfinite(before)
    assert fine.any()
    np.testing.assert_allclose(found.predict(X)[fine], before[fine], rtol=1e-12)
    np.testing.assert_array_equal(canonical(found, signs).program, found.program)


LEAVES = st.sampled_from(["x", "y", "1", "2", "pi", "1.7", "-0.3"])
FORMULAS = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        st.tuples(st.sampled_from(["sqrt", "exp", "log", "sin", "cos", "tanh", "abs"]), part).map(
            "{0[0]}({0[1]})".format
        ),
        st.tuples(part, st.sampled_from("+-*/"), part).map("({0[0]}{0[1]}{0[2]})".format),
        part.map("({0})^2".format),
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(text=FORMULAS, positive=st.booleans())
def test_the_printed_law_computes_what_the_program_computes(text: str, positive: bool) -> None:
    points = X if positive else X * np.random.default_rng(1).choice([-1.0, 1.0], X.shape)
    try:
        given_law = law(text)
    except ValueError:  # a number too large to be read
        return
    found = canonical(given_law, POSITIVE if positive else {})
    before, after = given_law.predict(points), found.predict(points)
    fine = np.isfinite(before) & (np.abs(before) < 1e9)
    np.testing.assert_allclose(after[fine], before[fine], rtol=1e-6, atol=1e-9)
    expression = found.sympy()
    symbols = {s.name: s for s in expression.free_symbols}
    for point, value in zip(points[:3], after[:3], strict=True):
        if np.isfinite(value):
            at = {symbols[name]: v for name, v in zip("xy", point.tolist(), strict=True) if name in symbols}
            assert complex(expression.subs(at)) == pytest.approx(value, rel=1e-6, abs=1e-9)


def test_exact_numbers_are_fractions_powers_of_pi_and_roots() -> None:
    exact = exact_number(sympy.Rational(3, 4) * sympy.sqrt(2) / sympy.pi**2)
    assert exact is not None
    assert float(exact) == pytest.approx(0.75 * 2**0.5 / np.pi**2)
    assert exact_number(sympy.sin(4)) is None
    assert exact_number(sympy.Float(0.5)) is None


def test_signs_are_the_datas() -> None:
    assert signs_of(np.array([[1.0, 0.0, -1.0], [2.0, 3.0, 4.0]]), "abc") == {"a": "positive", "b": "nonnegative"}


@pytest.mark.parametrize(
    ("target", "printed"),
    [
        (np.abs, "Abs(x0)"),
        (lambda x: x * np.abs(x), "x0*Abs(x0)"),
        (lambda x: np.abs(x) ** 1.5, "Abs(x0)**(3/2)"),
        (lambda x: np.maximum(x, 0), "x0/2 + Abs(x0)/2"),
    ],
)
def test_absolute_values_are_said(target, printed: str) -> None:  # type: ignore[no-untyped-def]
    x = np.linspace(-3, 3, 60)[:, None]
    model = SymbolicRegressor(budget=20_000, random_state=0).fit(x, target(x[:, 0]))
    assert str(model.law_) == str(model.sympy()) == printed
    at = np.array([[-2.0], [-0.7], [1.3]])
    symbol = next(iter(model.sympy().free_symbols))
    for point, value in zip(at[:, 0], model.predict(at), strict=True):
        assert float(model.sympy().subs(symbol, point)) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("sqrt((x - 5)^2)*y", "y*(5 - x)"),
        ("abs(x + sin(y))", "x + sin(y)"),
        ("sqrt((x - 1)^2)", "Abs(x - 1)"),
        ("1/abs(y - 3*x - 4)", "1/(3*x - y + 4)"),
    ],
)
def test_an_absolute_value_of_one_sign_is_no_absolute_value(text: str, printed: str) -> None:
    whole = replace(law(text), exact=tuple(Exact.whole(int(c)) for c in law(text).constants))
    (found,) = settled_laws([whole], POSITIVE, [X])
    assert str(found) == printed
    np.testing.assert_allclose(found.predict(X), whole.predict(X), rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("sqrt(x^2 - 2*x + 1)", "Abs(x - 1)"),
        ("sqrt(4*x^2 + 12*x*z + 9*z^2)", "Abs(2*x + 3*z)"),
        ("1/sqrt(x^4 - 4*x^2 + 4)", "1/Abs(x**2 - 2)"),
        ("sqrt(x^2 + 1)", "sqrt(x**2 + 1)"),
    ],
)
def test_the_root_of_a_square_is_an_absolute_value(text: str, printed: str) -> None:
    library = Library("full", ["x", "z"], constant=True)
    expression = parse(text, library)
    read = from_program(expression.program, expression.constants.tolist(), library)
    numbers = tuple((value, Exact.whole(round(value))) for value, _ in read.numbers)
    assert str(canonical(replace(read, numbers=numbers).law(library), {})) == printed


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("fabs", "fabs"),
        ("crowbar", "crowbar"),
        ("M_PI", r"M_{PI}"),
        ("x0_", r"x_{0\_}"),
        ("alpha_2", r"\alpha_{2}"),
        ("Theta", r"\Theta"),
    ],
)
def test_a_column_is_called_in_latex_what_it_is_called(name: str, latex: str) -> None:
    library = Library("full", [name], constant=True)
    program = parse(f"sin({name})", library).program
    assert from_program(program, [], library).law(library).latex() == rf"\sin{{\left({latex} \right)}}"
