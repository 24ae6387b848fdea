"""One evaluation of an architecture: what it may return, how it fails, and when it is ended early."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rl_suite.errors import UserError
from rl_suite.meta_learning.tuning.objectives import Values
from rl_suite.meta_learning.tuning.spaces import Architecture

FAILURES = (ArithmeticError, ValueError, TypeError, LookupError, RuntimeError, MemoryError, UserError)
"""What an evaluation may raise without ending the search: a network that cannot be built, or does not fit."""
CURVES = 5  # whole evaluations before one is compared with them

Evaluate = Callable[[Architecture], Any]
"""An architecture -> a number, a mapping of numbers, or a generator of numbers whose last one counts."""


class Attempt(NamedTuple):
    """What came of one evaluation; plain values, so that it may have happened in another process."""

    values: dict[str, float]
    """By objective; ``{"": value}`` for one without a name; empty: it failed."""
    error: str = ""
    curve: tuple[float, ...] = ()
    """What it yielded."""
    stopped: bool = False


class Evaluation(NamedTuple):
    """One architecture that was paid for."""

    architecture: Architecture
    value: float
    """Of several objectives the first one; NaN: it failed."""
    key: str
    """Its canonical form."""
    error: str = ""
    """Why it failed, if it raised."""
    ranked: Values = ()
    """All objectives, higher is better."""
    measured: Mapping[str, float] = {}
    """Several objectives by name, as they were measured."""
    curve: tuple[float, ...] = ()
    """What a generator yielded; the last one is the value."""
    stopped: bool = False
    """Whether it was ended early."""

    @classmethod
    def of(
        cls, architecture: Architecture, key: str, found: Attempt, objectives: Mapping[str, str] | None
    ) -> "Evaluation":
        """The record of an attempt."""
        if not found.values:
            return cls(architecture, math.nan, key, found.error, curve=found.curve)
        values = list(found.values.values())
        signs = [-1.0 if way == "min" else 1.0 for way in objectives.values()] if objectives else [1.0]
        ranked = tuple(sign * value for sign, value in zip(signs, values, strict=True))
        measured = found.values if objectives else {}
        return cls(architecture, values[0], key, "", ranked, measured, found.curve, found.stopped)


def attempt(
    function: Evaluate,
    architecture: Architecture,
    objectives: Mapping[str, str] | None,
    curves: Sequence[Sequence[float]],
    sign: float = 1.0,
) -> Attempt:
    """Evaluate one architecture; failures are what came of it.

    Args:
        function: see :data:`Evaluate`.
        architecture: what is evaluated.
        objectives: whose names a mapping must have.
        curves: what whole evaluations yielded so far.
        sign: -1 where lower values are better.
    """
    curve: list[float] = []
    known = [[sign * value for value in other] for other in curves]
    stopped = False
    try:
        found = function(architecture)
        if isinstance(found, Iterator):
            for value in found:
                curve.append(float(value))
                if not math.isfinite(curve[-1]):
                    break
                stopped = is_behind([sign * value for value in curve], known)
                if stopped:
                    break
            if not curve:
                raise ValueError("an evaluation that yields must yield a number")
            found = curve[-1]
        values = {name: float(found[name]) for name in objectives} if objectives else {"": float(found)}
    except FAILURES as problem:
        return Attempt({}, f"{type(problem).__name__}: {problem}", tuple(curve))
    whole = all(math.isfinite(value) for value in values.values())
    return Attempt(values if whole else {}, "", tuple(curve), stopped and whole)


def is_behind(curve: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Whether the best of a curve is below the median of what whole evaluations had yielded on the mean by then (the
    median rule of Golovin et al. 2017, Google Vizier); never before there are five of them, nor at a last step.

    >>> is_behind([0.2], [[0.5, 0.9]] * 5), is_behind([0.2], [[0.5, 0.9]] * 4), is_behind([0.2, 0.3], [[0.5, 0.9]] * 5)
    (True, False, False)
    """
    step = len(curve)
    longer = [float(np.mean(other[:step])) for other in others if len(other) > step]
    return len(longer) >= CURVES and max(curve) < float(np.median(longer))
