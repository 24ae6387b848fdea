"""A comparison as a forest plot: one line per agent with its interval, and where chance lies.

It is a table whose middle column draws; the numbers stay readable for people who cannot see it, and copyable.
"""

import math
from dataclasses import dataclass

from rl_suite.report.findings import OWN, Comparison

MARGIN = 0.04  # of the axis, free at both ends
TICKS = 5


@dataclass(frozen=True)
class Bar:
    """One line; places are percentages of the axis."""

    label: str
    note: str
    text: str
    own: bool
    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Forest:
    """A comparison, ready to be drawn."""

    title: str
    explanation: str
    bars: list[Bar]
    chance: float | None
    ticks: list[tuple[float, str]]


def forest_of(comparison: Comparison) -> Forest | None:
    """Places of everything on the axis; None without rows."""
    if not comparison.rows:
        return None
    ends = [
        end
        for row in comparison.rows
        for end in (row.estimate.value, row.estimate.low, row.estimate.high)
        if end is not None
    ]
    ends += [comparison.chance] if comparison.chance is not None else []
    low, high = min(ends), max(ends)
    room = MARGIN * (high - low) or max(abs(high), 1.0)
    low, high = low - room, high + room
    if not math.isfinite(high - low):
        return None

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - low) / (high - low), 2)

    bars = [
        Bar(
            label=row.label,
            note=row.note,
            text=row.estimate.says(comparison.percent),
            own=row.role == OWN,
            at=place(row.estimate.value) or 0.0,
            low=place(row.estimate.low),
            high=place(row.estimate.high),
        )
        for row in comparison.rows
    ]
    ticks = [
        (place(value) or 0.0, f"{100 * value:.3g} %" if comparison.percent else f"{value:.3g}")
        for value in round_values(low, high)
    ]
    return Forest(comparison.title, comparison.explanation, bars, place(comparison.chance), ticks)


def round_values(low: float, high: float) -> list[float]:
    """At most about ``TICKS`` values with few digits between ``low`` and ``high``."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [0.0 if i == 0 else i * step for i in range(first, math.floor(high / step) + 1)]
