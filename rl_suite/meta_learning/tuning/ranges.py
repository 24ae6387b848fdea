"""Names and ranges of settings, as users write them and as the engine reads them."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from rl_suite.errors import UserError
from rl_suite.loading import BRIEF, require_known, shortened

LOG = "log"
LARGEST = sys.float_info.max
MOST_WHOLE = 1_000_000  # values of one whole number: the engine judges each of them
Params = dict[str, Any]
Conditions = Mapping[str, tuple[str, Sequence[Any]]]


def read_ranges(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """``(low, high)``, ``(low, high, "log")`` or a list of choices per name; whole bounds make whole numbers.

    >>> list(read_ranges({"rate": (1e-5, 1e-2, "log"), "size": (16, 128), "kind": ["adam", "sgd"]}))
    ['rate', 'size', 'kind']
    """
    if not isinstance(space, Mapping) or not space:
        raise UserError("an empty space: give names with (low, high) or lists of choices")
    for name in space:
        if not isinstance(name, str | int):
            raise UserError(f"a parameter is named by text, not by {BRIEF.repr(name)}")
    return {name: _read(shortened(str(name)), value) for name, value in space.items()}


def _read(name: str, value: Any) -> BaseDistribution:
    if isinstance(value, list):
        if not value or len({repr(choice) for choice in value}) < len(value):
            raise UserError(f"{name}: a list of choices needs different choices, not {BRIEF.repr(value)}")
        if not all(isinstance(choice, str | int | float | bool | type(None)) for choice in value):
            raise UserError(f"{name}: choices are text, numbers, true, false or null")
        return CategoricalDistribution(value)
    if not isinstance(value, tuple) or len(value) not in (2, 3) or value[2:] not in ((), (LOG,)):
        raise UserError(f'{name}: give (low, high), (low, high, "log") or a list of choices, not {BRIEF.repr(value)}')
    low, high, log = value[0], value[1], len(value) == 3
    if not all(
        isinstance(end, int | float) and not isinstance(end, bool) and abs(end) <= LARGEST for end in (low, high)
    ):
        raise UserError(f"{name}: bounds are finite numbers, not {BRIEF.repr(low)} and {BRIEF.repr(high)}")
    if low >= high:
        raise UserError(f"{name}: the lower bound {low} is not below the upper bound {high}")
    if log and low <= 0:
        raise UserError(f"{name}: a range on a log scale begins above 0, not at {low}")
    if not math.isfinite(float(high) - float(low)):
        raise UserError(f"{name}: {low} and {high} are too far apart for a number to hold their difference")
    if isinstance(low, int) and isinstance(high, int):
        if high - low >= MOST_WHOLE:
            raise UserError(
                f"{name}: more than {MOST_WHOLE:,} whole numbers are not looked through one by one;"
                f" give ({float(low)}, {float(high)}) and round"
            )
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def require_inside(name: str, value: Any, given: BaseDistribution) -> None:
    """A value of a point of one's own lies in its range; ``UserError`` otherwise."""
    try:
        flag = isinstance(value, bool) and not isinstance(given, CategoricalDistribution)
        inside = not flag and given._contains(given.to_internal_repr(value))
    except (TypeError, ValueError):
        inside = False
    if not inside:
        ends = given.choices if isinstance(given, CategoricalDistribution) else (given.low, given.high)  # type: ignore[attr-defined]
        raise UserError(f"{name}: {BRIEF.repr(value)} does not lie in {BRIEF.repr(ends)}")


def read_conditions(conditions: Conditions, ranges: Mapping[str, BaseDistribution]) -> Conditions:
    """Check ``{name: (other name, values of it for which the name is used)}``."""
    if not isinstance(conditions, Mapping):
        raise UserError(f"conditions are a mapping, not {BRIEF.repr(conditions)}")
    for name, condition in conditions.items():
        if not isinstance(condition, tuple | list) or len(condition) != 2 or not isinstance(condition[1], tuple | list):
            raise UserError(f"condition of {name}: give (other name, [values of it]), not {BRIEF.repr(condition)}")
        other, values = condition
        for known in (name, other):
            require_known(known, ranges, "parameter in conditions")
        if name == other or other in conditions or not values:
            raise UserError(f"condition of {name}: another parameter that has no condition, and values of it")
        for value in values:
            require_inside(f"condition of {name}: {other}", value, ranges[other])
    return dict(conditions)


def in_use(params: Mapping[str, Any], conditions: Conditions) -> Params:
    """The parameters whose conditions hold."""
    return {
        name: value
        for name, value in params.items()
        if name not in conditions or params[conditions[name][0]] in conditions[name][1]
    }
