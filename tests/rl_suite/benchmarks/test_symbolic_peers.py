"""Programs of peers are read back as what they compute."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from envs.symbolic.benchmarks import problem
from rl_suite.benchmarks.symbolic_peers import gplearn_law


@dataclass
class PeerFunction:
    """What a gplearn program holds of a function."""

    name: str
    arity: int
    compute: Callable[..., np.ndarray]

    def __call__(self, *arguments: np.ndarray) -> np.ndarray:
        return self.compute(*arguments)


ADD, SUB, MUL = PeerFunction("add", 2, np.add), PeerFunction("sub", 2, np.subtract), PeerFunction("mul", 2, np.multiply)
SIN, LOG = PeerFunction("sin", 1, np.sin), PeerFunction("log", 1, lambda x: np.log(np.abs(x)))
DIV = PeerFunction("div", 2, lambda a, b: np.where(np.abs(b) > 0.001, a / np.where(b == 0, 1, b), 1.0))


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ([ADD, 0, MUL, 0.5, SIN, 0], lambda x: x + 0.5 * np.sin(x)),
        ([DIV, SIN, 0, 0], lambda x: np.sin(x) / x),
        ([SUB, 0, DIV, 0, SUB, 0, 0], lambda x: x - 1),  # a / 0 is 1 to gplearn
        ([LOG, SUB, 0, 1.0], lambda x: np.log(np.abs(x - 1))),
    ],
)
def test_gplearn_programs_are_read_back(program: list[Any], expected: Callable[[np.ndarray], np.ndarray]) -> None:
    X = np.array([[0.3], [0.9]])
    law = gplearn_law(program, problem("Nguyen-1"), X)
    np.testing.assert_allclose(law.predict(X), expected(X[:, 0]))
