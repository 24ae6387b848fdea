"""Settings as points of the unit cube: one column per number, one per choice."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from rl_suite.meta_learning.tuning.ranges import Params


class UnitCube:
    """Maps settings to [0, 1]^d and back, as their scales say.

    >>> cube = UnitCube({"rate": FloatDistribution(1e-4, 1e-2, log=True), "kind": CategoricalDistribution(["a", "b"])})
    >>> cube.encode([{"rate": 1e-3, "kind": "b"}]).round(3).tolist()
    [[0.5, 0.0, 1.0]]
    >>> cube.decode(np.array([1.0, 0.6, 0.3]))
    {'rate': 0.01, 'kind': 'a'}
    """

    def __init__(self, ranges: Mapping[str, BaseDistribution]):
        self.ranges = dict(ranges)

    def encode(self, settings: Sequence[Params]) -> NDArray[np.float64]:
        """Points (n, d)."""
        rows = [[x for name, given in self.ranges.items() for x in _encoded(given, each[name])] for each in settings]
        width = sum(_width(given) for given in self.ranges.values())
        return np.array(rows, dtype=np.float64).reshape(len(settings), width)

    def decode(self, point: NDArray[np.float64]) -> Params:
        """The settings nearest to a point (d,)."""
        found, at = {}, 0
        for name, given in self.ranges.items():
            width = _width(given)
            found[name] = _decoded(given, point[at : at + width])
            at += width
        return found


def _width(given: BaseDistribution) -> int:
    return len(given.choices) if isinstance(given, CategoricalDistribution) else 1


def _ends(given: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """Bounds on the scale; a whole number owns half a unit to either side."""
    margin = 0.5 if isinstance(given, IntDistribution) else 0.0
    low, high = given.low - margin, given.high + margin
    return (math.log(low), math.log(high)) if given.log else (low, high)


def _encoded(given: BaseDistribution, value: Any) -> list[float]:
    if isinstance(given, CategoricalDistribution):
        place = given.to_internal_repr(value)
        return [float(place == i) for i in range(len(given.choices))]
    assert isinstance(given, FloatDistribution | IntDistribution)
    low, high = _ends(given)
    return [((math.log(value) if given.log else float(value)) - low) / (high - low)]


def _decoded(given: BaseDistribution, columns: NDArray[np.float64]) -> Any:
    if isinstance(given, CategoricalDistribution):
        return given.choices[int(columns.argmax())]
    assert isinstance(given, FloatDistribution | IntDistribution)
    low, high = _ends(given)
    value = low + float(columns[0]) * (high - low)
    value = math.exp(value) if given.log else value
    if isinstance(given, IntDistribution):
        return int(min(max(round(value), given.low), given.high))
    return min(max(value, given.low), given.high)
