"""What a run found, in the few notions that every kind of experiment shares: a sentence, reasons, comparisons.

The result files differ (returns of agents, accuracies over episodes, laws); a page should not. Everything is read
from a folder that may be a stranger's: what is not of the expected type is left out, never trusted.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

GOOD: Final = "good"
OPEN: Final = "open"
BAD: Final = "bad"
NOTE: Final = "note"
Mark = Literal["good", "open", "bad", "note"]
OWN, REFERENCE = "own", "reference"
LONGEST = 200  # characters of a name or a sentence that a file brings


class Estimate(NamedTuple):
    """A number with the ends of its interval; both are None where none is known."""

    value: float
    low: float | None = None
    high: float | None = None

    def says(self, percent: bool = False) -> str:
        """Such as ``0.512 [0.4, 0.6]``, or ``51.2 % [40, 60]``."""
        if percent:
            band = "" if self.low is None or self.high is None else f" [{100 * self.low:.3g}, {100 * self.high:.3g}]"
            return f"{100 * self.value:.3g} %{band}"
        band = "" if self.low is None or self.high is None else f" [{short(self.low)}, {short(self.high)}]"
        return f"{short(self.value)}{band}"


def short(value: float) -> str:
    """Three digits, and thousands without an exponent.

    >>> short(-1363.77), short(0.05123), short(2.5e9)
    ('-1,364', '0.0512', '2.5e+09')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def number(value: object) -> float | None:
    """A finite number, or None; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        plain = float(value)
    except OverflowError:
        return None
    return plain if math.isfinite(plain) else None


def estimate(value: object) -> Estimate | None:
    """The estimate that a file holds as a number or as ``{"estimate", "low", "high"}``; None for anything else."""
    if not isinstance(value, Mapping):
        plain = number(value)
        return None if plain is None else Estimate(plain)
    middle, low, high = (number(value.get(key)) for key in ("estimate", "low", "high"))
    if middle is None:
        return None
    return Estimate(middle) if low is None or high is None else Estimate(middle, low, high)


def part(content: object, *path: str) -> Any:
    """What lies in nested mappings under ``path``; an empty mapping where there is nothing."""
    for key in path:
        content = content.get(key) if isinstance(content, Mapping) else None
    return {} if content is None else content


def items(content: object) -> Iterator[tuple[str, Any]]:
    """Names and values of a mapping; nothing of anything else."""
    if isinstance(content, Mapping):
        yield from ((str(key)[:LONGEST], value) for key, value in content.items())


def sentences(content: object) -> list[str]:
    """The strings of a list."""
    return [line[:LONGEST] for line in content if isinstance(line, str)] if isinstance(content, Sequence) else []


@dataclass(frozen=True)
class Row:
    """One bar of a comparison."""

    label: str
    estimate: Estimate
    role: str = REFERENCE
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Values with their intervals on one axis, and what an agent without knowledge would reach."""

    title: str
    rows: Sequence[Row]
    explanation: str = ""
    percent: bool = False
    chance: float | None = None


@dataclass(frozen=True)
class Judgement:
    """One reason to believe a result, or not to."""

    mark: Mark
    text: str


@dataclass(frozen=True)
class Findings:
    """What stands at the top of the page."""

    verdict: str
    judgements: Sequence[Judgement] = ()
    comparisons: Sequence[Comparison] = ()
    main: Estimate | None = None
    """The number of the verdict, by which runs are compared."""
    main_name: str = ""
    terms: Sequence[str] = field(default_factory=tuple)
    """Keys of the glossary that the page uses."""
