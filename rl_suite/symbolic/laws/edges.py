"""Where a law ends, jumps or grows without bound: between its rows, and a tenth of their range beyond.

One column at a time is varied through rows of the table, over the widened range; columns of one sign keep it, because
masses have no other side. A jump is a difference that stays when its interval is halved over and over; a pole is a
peak that grows while it is narrowed. Poles and gaps that are narrower than a step of the grid are not seen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.laws.law import Law

Values = NDArray[np.float64]
Lines = Callable[[Values], Values]  # places (lines, k) of a column -> values of the law there (lines, k)
Kind = Literal["is not finite", "jumps", "grows without bound"]
MARGIN = 0.1  # of a column's range
LINES, STEPS, ALONE = 16, 200, 2000  # lines through the rows for a column, steps of each; of a column that is alone
STEEP, HALVINGS, LEFT = 0.05, 32, 0.01  # of the target's spread: a difference that is looked at, and one that stays
PEAK, GROWS = 1.0, 0.01  # times the spread: a peak that is looked at, and what one grows by that has no end


@dataclass(frozen=True)
class Edge:
    """Where a law is no smooth function of a column.

    ``row`` (from 1) has the other columns' values; ``inside``: between the least and the largest value of the rows.
    """

    kind: Kind
    column: str
    value: float
    below: bool
    """Whether it comes where the column falls from the row's own value."""
    row: int
    low: float
    high: float
    alone: bool

    @property
    def inside(self) -> bool:
        """Whether it lies in the range of the rows."""
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        sign = ("<=" if self.below else ">=") if self.kind == "is not finite" else "="
        others = "" if self.alone else f", the other columns as in row {self.row}"
        place = "in" if self.inside else "just outside"
        rows = f"{place} the range of the rows ({self.low:.6g} to {self.high:.6g})"
        return f"the law {self.kind} at {self.column} {sign} {self.value:.6g}, {rows}{others}"


@np.errstate(over="ignore", invalid="ignore")  # beyond the largest numbers the law is not finite, no more
def edges_of(law: Law, X: Values, spread: float, rows: NDArray[np.int64]) -> list[Edge]:
    """For every column and kind the edge nearest to the rows (n, d); ``rows`` (n,) are their numbers, from 0.

    ``spread`` is the size of the target's differences.
    """
    found: list[Edge] = []
    for j, column in enumerate(law.library.variables):
        if law.library.id(column) in law.program:
            found += _of_column(law, X, j, spread, rows)
    return found


def _of_column(law: Law, X: Values, j: int, spread: float, rows: NDArray[np.int64]) -> Iterator[Edge]:
    low, high = float(X[:, j].min()), float(X[:, j].max())
    alone = X.shape[1] == 1
    order = np.argsort(X[:, j], kind="stable")
    through = order[np.linspace(0, len(order) - 1, 1 if alone else min(LINES, len(order))).astype(np.int64)]
    at = np.linspace(*_widened(low, high), (ALONE if alone else STEPS) + 1)

    def values(x: Values) -> Values:
        """At x (lines, k) of the column, the others as in the rows of the lines; (lines, k)."""
        points = np.repeat(X[through], x.shape[1], axis=0)
        points[:, j] = x.ravel()
        return law.predict(points).reshape(x.shape)

    grid = np.broadcast_to(at, (len(through), len(at))).copy()
    f = values(grid)
    gap = np.pad(~np.isfinite(f), ((0, 0), (1, 1)))
    f[gap[:, 1:-1] & ~gap[:, :-2] & ~gap[:, 2:]] = np.inf  # a point of the grid that is a pole
    own = X[through, j]
    jumps, poles = _jumps(values, grid, f, spread), _poles(values, grid, f, spread)
    jumps[np.abs(jumps - poles) < (at[1] - at[0])] = np.nan  # from -infinity to infinity
    places: dict[Kind, Values] = {
        "is not finite": _ends(values, grid, f, own),
        "jumps": jumps,
        "grows without bound": poles,
    }
    for kind, place in places.items():
        if np.isfinite(place).any():
            k = int(np.nanargmin(np.maximum(low - place, place - high).clip(0) + 1e-9 * np.abs(place - own)))
            yield Edge(
                kind, law.library.variables[j], float(place[k]), bool(place[k] < own[k]), int(rows[through[k]]) + 1,
                low, high, alone,
            )  # fmt: skip


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = MARGIN * (high - low)
    left, right = low - margin, high + margin
    return max(left, low / 2) if low >= 0 else left, min(right, high / 2) if high <= 0 else right


def _ends(values: Lines, grid: Values, f: Values, own: Values) -> Values:
    """The place nearest to the row's own where each line is not finite; NaN where it is finite everywhere, (lines,)."""
    gap = np.where(np.isnan(f), np.abs(grid - own[:, None]), np.inf)
    bad = np.take_along_axis(grid, gap.argmin(axis=1)[:, None], axis=1)[:, 0]
    good = own.copy()
    for _ in range(HALVINGS):  # between the row, where the law is finite, and there
        middle = good / 2 + bad / 2
        fine = np.isfinite(values(middle[:, None])[:, 0])
        good, bad = np.where(fine, middle, good), np.where(fine, bad, middle)
    return np.where(np.isfinite(gap.min(axis=1)), bad, np.nan)


def _jumps(values: Lines, grid: Values, f: Values, spread: float) -> Values:
    """Where the largest difference of neighbours on each line stays however near they are; NaN elsewhere, (lines,)."""
    steps = np.abs(np.diff(f, axis=1))
    k = np.where(np.isfinite(steps), steps, -1.0).argmax(axis=1)[:, None]
    (left, right), (f_left, f_right) = ([np.take_along_axis(a, i, axis=1)[:, 0] for i in (k, k + 1)] for a in (grid, f))
    looked_at = np.abs(f_right - f_left) > STEEP * spread
    for _ in range(HALVINGS):
        middle = left / 2 + right / 2
        f_middle = values(middle[:, None])[:, 0]
        first = ~(np.abs(f_right - f_middle) > np.abs(f_middle - f_left))
        left, f_left = np.where(first, left, middle), np.where(first, f_left, f_middle)
        right, f_right = np.where(first, middle, right), np.where(first, f_middle, f_right)
    return np.where(looked_at & (np.abs(f_right - f_left) > LEFT * spread), right, np.nan)


def _poles(values: Lines, grid: Values, f: Values, spread: float) -> Values:
    """Where the largest peak of each line, seen from its median, grows without bound; NaN elsewhere, (lines,)."""
    with np.errstate(invalid="ignore"):
        middle = np.array([np.median(line[np.isfinite(line)]) if np.isfinite(line).any() else 0.0 for line in f])
    size = np.abs(np.where(np.isnan(f), 0.0, f - middle[:, None]))
    peak = (size[:, 1:-1] >= size[:, :-2]) & (size[:, 1:-1] >= size[:, 2:])
    inner = np.where(peak & ~np.isnan(f[:, :-2]) & ~np.isnan(f[:, 2:]), size[:, 1:-1], 0.0)  # none beside an end
    k = inner.argmax(axis=1)[:, None] + 1
    left, right = (np.take_along_axis(grid, i, axis=1)[:, 0] for i in (k - 1, k + 1))
    looked_at = inner.max(axis=1) > PEAK * spread
    before = np.zeros(len(f))
    for step in range(2 * HALVINGS):  # by thirds
        third = (right - left) / 3
        pair = np.abs(values(np.stack([left + third, right - third], axis=1)) - middle[:, None])
        first = pair[:, 0] > pair[:, 1]
        left, right = np.where(first, left, left + third), np.where(first, right - third, right)
        before = pair.max(axis=1) if step == HALVINGS // 2 else before  # later a smooth peak is as high
    place = left / 2 + right / 2
    top = np.abs(values(place[:, None])[:, 0] - middle)
    return np.where(looked_at & ~(top < before + GROWS * spread), place, np.nan)
