"""States from outside: shape, type and range of every array are checked before a kernel may index with it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bound = tuple[float, float]  # lowest and highest value allowed; NaN never is

COUNT: Bound = (0, 2**30)  # steps, births: room to go on counting in 32 bits
FINITE: Bound = (-1e15, 1e15)
FLAG: Bound = (0, 1)


def checked(name: str, value: Any, like: NDArray[Any], bound: Bound, what: str = "state") -> NDArray[Any]:
    """``value`` as an array that fits where ``like`` is now.

    Raises:
        ValueError: another shape or type, or a value outside ``bound``; the message names the array.
    """
    array = np.asarray(value)
    if array.shape != like.shape or array.dtype != like.dtype:
        raise ValueError(
            f"{what} {name!r} must be {like.dtype} of shape {like.shape}, not {array.dtype} of shape {array.shape}"
        )
    low, high = bound
    if not ((array >= low) & (array <= high)).all():
        raise ValueError(f"{what} {name!r} holds values outside {low:g}..{high:g}")
    return array


def copy_rows(target: Any, source: Any, rows: NDArray[np.int64]) -> None:
    """Copy ``rows`` of every array of a state (nested dictionaries and lists) from ``source`` into ``target``."""
    if isinstance(target, np.ndarray):
        if target.size:  # an array that a world does not use has no rows
            target[rows] = source[rows]
    else:
        for key in target if isinstance(target, dict) else range(len(target)):
            copy_rows(target[key], source[key], rows)
