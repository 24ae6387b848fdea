"""Arguments of public calls, checked where they enter: one line for whatever is wrong with one."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from pydantic import ValidationError

from rl_suite.errors import UserError
from rl_suite.loading import BRIEF

LARGEST = float(np.finfo(np.float32).max)  # of numbers that reach single-precision tensors


def require_number(
    name: str, value: Any, least: float = -LARGEST, most: float = LARGEST, above: float | None = None
) -> float:
    """A finite number between ``least`` and ``most``, and greater than ``above``; ``UserError`` otherwise.

    >>> require_number("rate", 0.5, 0, 1)
    0.5
    """
    plain = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if not plain or not math.isfinite(value) or not least <= value <= most or (above is not None and value <= above):
        ends = [f"above {above:g}"] if above is not None else [f"of at least {least:g}"] if least > -LARGEST else []
        ends += [f"of at most {most:g}"] if most < LARGEST else []
        raise UserError(f"{name} must be a finite number {' and '.join(ends)}".rstrip() + f", not {BRIEF.repr(value)}")
    return float(value)


def require_whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number of at least ``least``; ``UserError`` otherwise."""
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is None or number < least or (most is not None and number > most):
        ends = f"of at least {least}" if most is None else f"between {least} and {most}"
        raise UserError(f"{name} must be a whole number {ends}, not {BRIEF.repr(value)}")
    return number


def require_flag(name: str, value: Any) -> bool:
    """True or False; ``UserError`` for anything else, such as ``"no"``, which would count as true."""
    if not isinstance(value, bool | np.bool_):
        raise UserError(f"{name} must be True or False, not {BRIEF.repr(value)}")
    return bool(value)


def require_kind(name: str, value: Any, kind: type) -> None:
    """An object of a class; ``UserError`` otherwise."""
    if not isinstance(value, kind):
        raise UserError(f"{name} must be of {kind.__name__}, not {BRIEF.repr(value)}")


def require_callable(name: str, value: Any) -> None:
    """A function; ``UserError`` otherwise, before a budget is spent on calls that all fail."""
    if not callable(value):
        raise UserError(f"{name} must be a function, not {BRIEF.repr(value)}")


def require_list(name: str, value: Any, of: type | None = None, least: int = 1) -> Sequence[Any]:
    """A list or tuple of at least ``least`` objects, of a class where one is given; ``UserError`` otherwise."""
    kinds = "" if of is None else f" of {of.__name__}"
    if not isinstance(value, list | tuple) or len(value) < least:
        raise UserError(f"{name} must be a list{kinds} with at least {least}, not {BRIEF.repr(value)}")
    for item in value:
        if of is not None and not isinstance(item, of):
            raise UserError(f"{name} must hold {of.__name__} only, not {BRIEF.repr(item)}")
    return value


def in_one_line(error: ValidationError, what: str) -> UserError:
    """What a schema refused: the first field, what is wrong with it, and what was given.

    Args:
        error: of pydantic.
        what: the object that was to be made.
    """
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"][:2])
    said = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "missing" else f", not {BRIEF.repr(first['input'])}"
    return UserError(f"{what}: {place or 'arguments'}: {said[:1].lower()}{said[1:]}{given}")
