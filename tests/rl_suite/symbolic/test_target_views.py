"""Forms that a prior proposes for 1/y, y/x0 or a table of fewer columns are forms of y."""

import numpy as np
import pytest
import torch

from envs.symbolic.law_forms import decode, product
from envs.symbolic.tokens import PAD
from rl_suite.symbolic.prior import Shape
from rl_suite.symbolic.reductions import Part, Reduced, whole_table
from rl_suite.symbolic.regressor import SymbolicRegressor
from rl_suite.symbolic.target_views import View, propose_through_views, views_of

X0, X1, X2 = ("x", 0), ("x", 1), ("x", 2)
TABLE = np.array([[1.0, 2.0], [4.0, 5.0]])
WHOLE = whole_table(TABLE)
RATIO = product([(X0, 4), (X1, -4)])  # exponents are counted in quarters
MERGED = Reduced((Part(TABLE[:, 0] / TABLE[:, 1], RATIO),), TABLE[:, 1] ** 2, ((X1, 8),))


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    return Shape(width=16, heads=2, column_layers=1, token_layers=1).build().eval()


@pytest.mark.parametrize(
    ("view", "seen", "law"),
    [
        (View(WHOLE), X0, X0),
        (View(WHOLE, 2), X0, product([(X0, 2)])),
        (View(WHOLE, -1), RATIO, product([(X1, 4), (X0, -4)])),
        (View(MERGED), X0, product([(X0, 4), (X1, 4)])),
        (View(MERGED, -1), ("log", X0), product([(("log", RATIO), -4), (X1, 8)])),
    ],
)
def test_a_form_of_the_target_goes_back_to_one_of_y(view, seen, law):
    assert view.back(seen) == law


def test_targets_are_what_the_forms_say():
    np.testing.assert_allclose(View(MERGED, 2).target(np.array([8.0, 25.0])), [4.0, 1.0])
    assert View(WHOLE, -1).target(np.array([0.0, 1.0])) is None  # not finite
    assert View(MERGED).target(TABLE[:, 1] ** 2) is None  # nothing is left to find
    np.testing.assert_array_equal(View(WHOLE).target(np.zeros(2)), [0.0, 0.0])


def test_programs_are_different_forms_best_first_whatever_the_order_of_the_columns(policy):
    rng = np.random.default_rng(0)
    X = rng.uniform(1.0, 3.0, (40, 3))
    y = X[:, 0] * np.log(X[:, 1] / X[:, 2])
    programs, log_prob = propose_through_views(policy, X, y, 30)
    assert (np.diff(log_prob) <= 0).all()
    assert log_prob[0] <= 0
    forms = [decode(program[program != PAD]) for program in programs]
    assert len(set(forms)) == len({row.tobytes() for row in programs}) == 30
    _, other = propose_through_views(policy, X[:, [2, 0, 1]], y, 30)
    np.testing.assert_allclose(other, log_prob, atol=1e-4)


@pytest.mark.parametrize(
    "y", [np.zeros(20), np.full(20, 3.0), np.linspace(-1, 1, 20)], ids=["zero", "constant", "line"]
)
def test_targets_that_have_hardly_a_view_still_get_proposals(policy, y):
    X = np.column_stack([np.zeros(20), np.arange(20.0)])
    programs, log_prob = propose_through_views(policy, X, y, 5)
    assert len(programs) == len(log_prob) <= 5
    assert bool(len(programs)) == bool(y.any())  # of a target of zeros nothing can be said
    assert np.isfinite(log_prob).all()


def test_a_search_of_zeros_asks_a_prior_that_has_nothing_to_say():
    X = np.random.default_rng(0).uniform(1.0, 2.0, (30, 2))
    found = SymbolicRegressor(prior="shipped", budget=300, random_state=0).fit(X, np.zeros(30))
    np.testing.assert_allclose(found.predict(X), 0.0, atol=1e-9)


def test_the_table_as_it_is_comes_first_and_reduced_ones_follow():
    X = np.random.default_rng(0).uniform(1.0, 2.0, (40, 3))
    views = list(views_of(X, X[:, 0] * np.exp(X[:, 1] * X[:, 2])))
    assert [view.plain for view in views].index(True) == 0
    assert sum(view.plain for view in views) == 1
    assert {len(view.table.parts) for view in views} == {1, 2, 3}


def test_nothing_asked_nothing_proposed(policy):
    programs, log_prob = propose_through_views(policy, np.ones((20, 2)), np.arange(20.0), 0)
    assert len(programs) == len(log_prob) == 0
