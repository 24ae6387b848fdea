"""NaN and infinity, found where they first are and named: a row of a batch, or a tensor of a nested state."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rl_suite.errors import NonFiniteError


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite; the sum is one pass, and only a sum that is not asks for another.

    >>> import torch
    >>> is_finite(torch.tensor([3e38, 3e38])), is_finite(torch.tensor([1.0, math.nan]))
    (True, False)
    """
    return math.isfinite(tensor.sum().item()) or bool(tensor.isfinite().all())


def bad_row(value: Any, rows: NDArray[np.bool_] | None = None) -> tuple[str, int] | None:
    """(key, row) of the first batch row with a value that is not finite; None if there is none.

    Args:
        value: an array or tensor (B, ...), or a mapping or tuple of such; whole numbers are always finite.
        rows: (B,) the rows that count, all by default.

    >>> bad_row({"a": np.zeros((2, 1)), "b": np.array([1.0, math.inf])})
    ("['b']", 1)
    """
    if isinstance(value, Mapping | tuple):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            found = bad_row(item, rows)
            if found is not None:
                return f"[{key!r}]{found[0]}", found[1]
        return None
    if isinstance(value, Tensor):
        if not value.is_floating_point() or is_finite(value):
            return None
        value = value.detach().float().cpu().numpy()
    if not isinstance(value, np.ndarray) or not np.issubdtype(value.dtype, np.floating):
        return None
    finite = np.isfinite(value)
    if finite.all():
        return None
    bad = ~finite.reshape(len(value), -1).all(axis=1)
    wrong = np.flatnonzero(bad if rows is None else bad & rows)
    return ("", int(wrong[0])) if len(wrong) else None


def floating_tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every floating-point tensor of a nested state with its dotted name."""
    if isinstance(state, Tensor):
        if state.is_floating_point():
            yield name, state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from floating_tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(state, list | tuple):
        for i, value in enumerate(state):
            yield from floating_tensors(value, f"{name}.{i}")


def bad_tensor(state: Any) -> str | None:
    """The dotted name of the first tensor that holds NaN or infinity."""
    return next((name for name, tensor in floating_tensors(state) if not is_finite(tensor)), None)


def require_finite_tensors(state: Any, where: str) -> None:
    """Raise a ``NonFiniteError`` that names the first tensor with NaN or infinity.

    Tensors are what is learned: weights and what optimizers remember. Arrays, which are states of worlds and of
    searches, may hold infinity where a world means it.
    """
    name = bad_tensor(state)
    if name is not None:
        raise NonFiniteError(f"{name} is not finite {where}: nothing was saved of it; lower the learning rate")
