"""What a law must keep to besides the data: signs, monotony, what may stand inside a function, and how much.

A law that breaks a constraint is never kept, so every law of a front satisfies all of them: signs and monotony at the
rows and on lines through the box of the data, which shows a breach but proves no law for every point of it.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.program import evaluate_programs
from envs.symbolic.tokens import OPERATIONS, subtree_sizes
from rl_suite.symbolic.laws.law import Law

Values = NDArray[np.float64]
Allowed = Callable[[Sequence[Law]], bool]
KEYS = ("positive", "monotone", "nesting", "complexity")
DIRECTIONS = ("increasing", "decreasing")
LINES, POINTS_PER_LINE = 64, 33  # through the box, and points on each, where signs and monotony are looked at
SLACK = 1e-9  # of the range of values on a line that rounding may take away
LARGEST_COMPLEXITY = 1000


@dataclass(frozen=True)
class Constraints:
    """What every law must satisfy.

    Attributes:
        positive: its values are more than 0.
        monotone: (variable, "increasing" or "decreasing") pairs; not strictly, all other variables held.
        nesting: (function, functions that may not stand inside it) pairs.
        complexity: (function, greatest complexity of an argument) pairs.
    """

    positive: bool = False
    monotone: tuple[tuple[str, str], ...] = ()
    nesting: tuple[tuple[str, tuple[str, ...]], ...] = ()
    complexity: tuple[tuple[str, int], ...] = ()

    def __bool__(self) -> bool:
        return self != Constraints()

    def on(self, X: Values, variables: Sequence[str]) -> Allowed | None:
        """The test of laws over ``variables`` for the data X (n, d); None if there is nothing to test."""
        return None if not self else _Test(self, np.asarray(X, dtype=np.float64), tuple(variables)).allows


def read_constraints(given: Mapping[str, Any] | None, names: Mapping[str, str]) -> Constraints:
    """Constraints as people write them; ``names``: column -> name in formulas.

    Raises:
        ValueError: an unknown key, function, column or value, with what is known.

    >>> read_constraints({"positive": True, "monotone": {"mass": "increasing"}}, {"mass": "mass"}).monotone
    (('mass', 'increasing'),)
    """
    if not given:
        return Constraints()
    if not isinstance(given, Mapping):
        raise ValueError(f"constraints: {given!r} must be a mapping of {', '.join(KEYS)}")
    for key in given:
        _require(key, KEYS, "constraints")
    positive = given.get("positive", False)
    if not isinstance(positive, bool):
        raise ValueError(f"constraints.positive: {positive!r} must be true or false")
    monotone = []
    for column, direction in _part(given, "monotone").items():
        _require(column, tuple(names), "constraints.monotone")
        _require(direction, DIRECTIONS, f"constraints.monotone.{column}")
        monotone.append((names[column], str(direction)))
    nesting = []
    for function, inside in _part(given, "nesting").items():
        inside = (inside,) if isinstance(inside, str) else inside
        if not isinstance(inside, Sequence):
            raise ValueError(f"constraints.nesting.{function}: must list the functions that may not stand inside it")
        for name in (function, *inside):
            _require(name, tuple(OPERATIONS), "constraints.nesting")
        nesting.append((function, tuple(inside)))
    complexity = []
    for function, most in _part(given, "complexity").items():
        _require(function, tuple(OPERATIONS), "constraints.complexity")
        if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= LARGEST_COMPLEXITY:
            raise ValueError(f"constraints.complexity.{function}: {most!r} must be a whole number from 1 on")
        complexity.append((function, most))
    return Constraints(positive, tuple(monotone), tuple(nesting), tuple(complexity))


def _part(given: Mapping[str, Any], key: str) -> Mapping[Any, Any]:
    part = given.get(key) or {}
    if not isinstance(part, Mapping):
        raise ValueError(f"constraints.{key}: {part!r} must be a mapping")
    return part


def _require(name: Any, known: Sequence[str], where: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
        raise ValueError(f"{where}: {name!r} is not known{hint}")


@dataclass(frozen=True, eq=False)
class _Test:
    """Constraints on fixed data."""

    constraints: Constraints
    X: Values
    variables: tuple[str, ...]
    _lines: dict[str, Values] = field(default_factory=dict)

    def allows(self, laws: Sequence[Law]) -> bool:
        """Whether the law of every dataset keeps to all constraints."""
        wanted = self.constraints
        if not self._form_allowed(laws[0]):
            return False
        if wanted.positive and not all((self._values(law, self._points()) > 0).all() for law in laws):
            return False
        return all(self._monotone(law, *pair) for law in laws for pair in wanted.monotone)

    def _form_allowed(self, law: Law) -> bool:
        """Nesting and complexity of arguments."""
        names = law.library.decode(law.program)
        sizes = subtree_sizes(law.program, law.library)
        most, forbidden = dict(self.constraints.complexity), dict(self.constraints.nesting)
        weights = law.library.complexity[law.program]
        for at, name in enumerate(names):
            end = at + int(sizes[at])
            if not forbidden.get(name, ()) or not set(names[at + 1 : end]) & set(forbidden[name]):
                argument = at + 1
                while name in most and argument < end:
                    after = argument + int(sizes[argument])
                    if int(weights[argument:after].sum()) > most[name]:
                        return False
                    argument = after
                continue
            return False
        return True

    def _monotone(self, law: Law, variable: str, direction: str | Literal["increasing"]) -> bool:
        values = self._values(law, self._line(variable)).reshape(-1, POINTS_PER_LINE)
        if not np.isfinite(values).all():
            return False
        steps = np.diff(values, axis=1) * (1 if direction == "increasing" else -1)
        return bool((steps >= -SLACK * np.maximum(np.ptp(values, axis=1, keepdims=True), 1e-300)).all())

    def _values(self, law: Law, X: Values) -> Values:
        """Values at X; NaN everywhere if one is not finite."""
        length = np.array([len(law.program)])
        values: Values = evaluate_programs(law.program[None], length, X, law.library, law.constants[None])[0]
        return values

    def _points(self) -> Values:
        return np.concatenate([self.X, *(self._line(name) for name in self.variables)])

    def _line(self, variable: str) -> Values:
        """Points (LINES * POINTS_PER_LINE, d) on lines along a variable, through rows and through corners between."""
        if variable not in self._lines:
            rng = np.random.default_rng(0)
            low, high = self.X.min(axis=0), self.X.max(axis=0)
            rows = self.X[rng.integers(0, len(self.X), LINES // 2)]
            start = np.concatenate([rows, rng.uniform(low, high, (LINES - len(rows), len(low)))])
            points = np.repeat(start, POINTS_PER_LINE, axis=0)
            column = self.variables.index(variable)
            points[:, column] = np.tile(np.linspace(low[column], high[column], POINTS_PER_LINE), LINES)
            self._lines[variable] = points
        return self._lines[variable]
