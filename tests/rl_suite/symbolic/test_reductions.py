"""Columns that multiply, act together or not at all are found in the data, and forms go back to the whole table."""

import numpy as np
import pytest

from envs.symbolic.law_forms import product, total, write
from rl_suite.symbolic.reductions import reductions

ROWS = 64
X0 = ("x", 0)


def table(d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1.0, 3.0, (ROWS, d))


def groups(X, y):
    """What the smallest reduced tables are made of."""
    found = reductions(X, y)
    least = min(len(each.parts) for each in found)
    return {frozenset(" ".join(write(p.form)) for p in each.parts) for each in found if len(each.parts) == least}


@pytest.mark.parametrize(
    ("law", "group"),
    [
        (lambda x: x[0] * np.exp(-x[1] * x[2] ** 2), {"mul x1 sq x2"}),
        (lambda x: x[0] ** 3 * np.log(x[1] / x[2]), {"div x1 x2", "div x2 x1"}),
        (lambda x: x[0] / (1 + np.exp(x[1] - x[2])), {"add x1 x2"}),
        (lambda x: x[2] / np.sqrt(x[0] ** 2 + x[1] ** 2), {"add sq x0 sq x1"}),
    ],
    ids=["decay", "entropy", "difference", "distance"],
)
@pytest.mark.parametrize("seed", range(3))
def test_three_columns_become_the_one_that_counts(law, group, seed):
    X = table(4, seed)
    X[:, 3] = table(1, seed + 10)[:, 0]  # has no part in the law
    assert any(name in group for names in groups(X, law(X.T)) for name in names)


def test_what_is_left_is_y_over_the_factor():
    X = table(3)
    for reduced in reductions(X, X[:, 0] * np.sin(X[:, 1]) * X[:, 2]):
        factor = np.ones(ROWS)
        for form, quarters in reduced.powers:
            assert form[0] == "x"
            factor *= X[:, form[1]] ** (quarters / 4)
        np.testing.assert_allclose(reduced.factor, factor)


def test_forms_of_parts_go_back():
    X = table(3)
    y = X[:, 0] / (1 + X[:, 1] / X[:, 2])
    x0, x1, x2 = (("x", i) for i in range(3))
    ratio = product([(x1, 4), (x2, -4)])
    inverse = product([(ratio, -4)])
    found = {r.parts[0].form: r for r in reductions(X, y) if len(r.parts) == 1 and r.powers == ((x0, 4),)}
    seen = {ratio: X0, inverse: product([(X0, -4)])}
    chosen = next(form for form in found if form in seen)
    law = product([(x0, 4), (total([("1",), ratio]), -4)])
    assert found[chosen].back(product([(total([("1",), seen[chosen]]), -4)])) == law


def test_columns_that_nothing_puts_together_stay():
    X = table(2)
    assert not [r for r in reductions(X, np.sin(3 * X[:, 0]) + np.exp(X[:, 1]) * X[:, 0]) if len(r.parts) < 2]


@pytest.mark.parametrize("y", [np.zeros(ROWS), np.full(ROWS, 2.0)], ids=["zeros", "constant"])
def test_tables_that_say_nothing_raise_nothing(y):
    X = table(3)
    X[:, 1] = 0.0
    for reduced in reductions(X, y):
        assert np.isfinite(reduced.columns()).all()


def test_one_column_cannot_be_fewer():
    assert reductions(table(1), np.arange(float(ROWS))) == []


def test_few_rows_and_wide_ranges_stay_finite():
    rng = np.random.default_rng(1)
    X = np.exp(rng.uniform(-300, 300, (6, 4)))
    with np.errstate(all="raise"):
        for reduced in reductions(X, X[:, 0]):
            assert np.isfinite(reduced.columns()).all()
