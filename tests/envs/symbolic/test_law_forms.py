"""Forms of laws: one way of writing each, constants where a law may have some, one signature for all names."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.symbolic.fitted_forms import dress, fit_forms, scaled
from envs.symbolic.form_programs import FIRST_VARIABLE, FormIndex, compact, expanded, normal_order, signatures
from envs.symbolic.law_forms import columns_of, decode, encode, form_library, form_of, renamed, write
from envs.symbolic.law_generator import FormSampler
from envs.symbolic.text import parse
from envs.symbolic.tokens import Library

NAMES = ("a", "b", "c", "d")
FULL = Library("full", NAMES, literals=("pi",), constant=True)


def form(text):
    return form_of(parse(text, FULL), FULL)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("-9.81*a/b", "div x0 x1"),
        ("a - 2*b", "add x0 x1"),
        ("a*(1 - b**2/c**2)", "mul x0 add 1 div sq x1 sq x2"),
        ("sqrt(a*b/c)", "sqrt div mul x0 x1 x2"),
        ("1/sqrt(a)", "inv sqrt x0"),
        ("a**5", "mul x0 sq sq x0"),
        ("a*exp(-b*c/10)", "mul x0 exp mul x1 x2"),
        ("exp(a) + exp(-a)", "add exp x0 exp x0"),
        ("(b + a)*2 + 3*b", "add x0 x1"),
    ],
)
def test_numbers_and_signs_are_no_part_of_a_form(text, tokens):
    assert " ".join(write(form(text))) == tokens


def test_what_has_no_form_is_refused():
    for text in ("a**b", "3", "acos(a)", "sqrt(sqrt(sqrt(a)))"):
        with pytest.raises(ValueError, match=r"form|law"):
            form(text)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_names_do_not_matter(seed):
    sampler = FormSampler(seed)
    rng = np.random.default_rng(seed)
    for law in sampler.sample(5):
        m = len(columns_of(law))
        order = rng.permutation(m).tolist()
        other = renamed(law, order)
        assert decode(encode(law)) == law
        draft = np.array([t if t < FIRST_VARIABLE else FIRST_VARIABLE + order[t - FIRST_VARIABLE] for t in encode(law)])
        out = np.empty(len(draft), np.int16)
        normal_order(draft.astype(np.int16), len(draft), out)
        assert out.tolist() == encode(other).tolist()
        assert np.allclose(*signatures([law, other]), rtol=1e-7, equal_nan=True)


def test_an_index_knows_a_law_under_every_name_and_in_every_writing():
    index = FormIndex([form("(a + b)**2*c"), form("a/(b + c)")])
    same = ["d*(c - 2*a)**2", "3*c*a**2 - a*b*c + c*b**2/2", "d/(a - 7*b)", "1/(b/a + c/a)"]
    other = ["a*(b + c)", "a/(b*c)", "(a + b)*c", "a/(b + c**2)", "(a + b)**3*c"]
    assert index.contains([form(t) for t in same]).all()
    assert not index.contains([form(t) for t in other]).any()
    assert expanded(form("(a + b)**2")) == form("a**2 + a*b + b**2")
    assert compact(form("c*d")) == form("a*b")


@pytest.mark.parametrize(
    ("text", "dressed"),
    [
        ("a*b", "mul c mul x0 x1"),
        ("a + b", "add mul c x0 mul c x1"),
        ("1 + exp(a)", "add c mul c exp mul c x0"),
        ("a/(b + c)", "mul c div x0 add x1 mul c x2"),
        ("sqrt(a + b)", "mul c sqrt add mul c x0 mul c x1"),
        ("sin(a - b)", "mul c sin add mul c x0 mul c x1"),
    ],
)
def test_constants_stand_where_a_law_may_have_some(text, dressed):
    program = encode(form(text))
    out, sizes = dress(program[None], np.array([len(program)]))
    assert " ".join(form_library(4).decode(out[0, : sizes[0]])) == dressed


@pytest.mark.parametrize(
    "text", ["3*a*b/c", "a*(1 - exp(-b/c))", "2*a + 3*b*c**2", "a*sin(3*b)", "a/sqrt(1 - b**2/25)", "(a - 2*b)**2 + c"]
)
def test_the_right_form_is_fitted_exactly_and_a_wrong_one_is_not(text):
    rng = np.random.default_rng(0)
    X = rng.uniform(1.0, 3.0, (64, 3))
    a, b, c = X.T
    y = eval_law(text, a, b, c)
    programs = [encode(form(text)), encode(form("a + b + c + a*b*c"))]
    padded = np.full((2, 30), -1, np.int16)
    for row, program in zip(padded, programs, strict=True):
        row[: len(program)] = program
    data = scaled(X, y)
    _, _, fits = fit_forms(padded, np.array([len(p) for p in programs]), data, seed=0)
    assert fits.mean_square[0] < 1e-12 * data.target.var()
    assert fits.mean_square[1] > 1e-6 * data.target.var()
    again = fit_forms(padded[::-1], np.array([len(p) for p in programs[::-1]]), data, seed=0)[2]
    assert again.mean_square[1] == fits.mean_square[0]  # the place in a batch has no part in it


def eval_law(text, a, b, c):
    library = Library("full", ("a", "b", "c"), literals=("pi",), constant=True)
    from envs.symbolic.pointwise import evaluate_pointwise

    expression = parse(text, library)
    return evaluate_pointwise(expression.program, np.column_stack([a, b, c]), library, expression.constants)
