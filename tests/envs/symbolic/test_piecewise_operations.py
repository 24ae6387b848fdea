"""min, max, sign, step and atan2: values, derivatives, text, and the printed law."""

import numpy as np
import pytest

from envs.symbolic.fitting import refine_constants
from envs.symbolic.pointwise import evaluate_pointwise
from envs.symbolic.text import parse, to_infix
from envs.symbolic.tokens import Library

FULL = Library("full", ["x", "y"], literals=["1"], constant=True)
X = np.array([[-2.0, 1.0], [0.0, 0.0], [3.0, -4.0], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("min(x, y)", np.minimum(X[:, 0], X[:, 1])),
        ("Max(x, 2*y)", np.maximum(X[:, 0], 2 * X[:, 1])),
        ("atan2(x, y)", np.arctan2(X[:, 0], X[:, 1])),
        ("sign(x)", np.sign(X[:, 0])),
        ("step(x - 0.5)", [0.0, 0.0, 1.0, 1.0]),
    ],
)
def test_values_are_numpys_and_texts_parse_back(text, expected):
    read = parse(text, FULL)
    np.testing.assert_allclose(evaluate_pointwise(read.program, X, FULL, read.constants), expected, rtol=1e-15)
    again = parse(to_infix(read.program, FULL, read.constants), FULL)
    assert np.array_equal(again.program, read.program)


@pytest.mark.parametrize("text", ["min(1.3*x, 2.0)", "max(0.7*x + 0.2, 1.1*x)", "atan2(1.7*x, 0.4 + x)"])
def test_constants_inside_are_fitted(text):
    x = np.linspace(0.1, 4.0, 60)
    read = parse(text, FULL)
    points = np.column_stack([x, x])
    y = evaluate_pointwise(read.program, points, FULL, read.constants)
    start = read.constants * 1.1
    free = np.ones(len(start), dtype=np.bool_)
    columns = np.ascontiguousarray(points.T)
    found = refine_constants(read.program, columns, y, FULL, start, free, float(y.std()), 50, None)
    fitted = evaluate_pointwise(read.program, points, FULL, found.constants)
    np.testing.assert_allclose(fitted, y, atol=1e-6)
