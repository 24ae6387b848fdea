"""How much each row counts: weights, standard errors, and losses that weigh rows by their target."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
LOSSES = ("squared", "relative", "huber", "absolute")


class Weighing(NamedTuple):
    """Where the weights of a table's rows come from."""

    sample_weight: str | None = None
    """Column of weights."""
    y_error: str | float | None = None
    """Column of standard errors, or one for all rows."""
    loss: str = "squared"

    @property
    def columns(self) -> list[str]:
        """Columns that weigh rows and are no inputs."""
        return [name for name in (self.sample_weight, self.y_error) if isinstance(name, str)]


def row_weights(y: Values, sample_weight: Values | None, y_error: Values | None, loss: str) -> Values | None:
    """Weights (n,) of the rows out of weights (n,), or standard errors (n,), and the loss; None if all count alike.

    Raises:
        ValueError: both are given, numbers that cannot be weights, or a loss that y does not allow.
    """
    if sample_weight is not None and y_error is not None:
        raise ValueError("sample_weight and y_error say the same; give one of them")
    weights = None
    if y_error is not None:
        if not (np.isfinite(y_error).all() and (y_error > 0).all()):
            raise ValueError("y_error must be finite and more than 0 in every row")
        weights = (y_error.min() / y_error) ** 2
    elif sample_weight is not None:
        weights = sample_weight
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError("sample_weight must be finite, not negative, and not zero in every row")
    if loss == "relative":
        if not y.all():
            raise ValueError(
                f"loss='relative': y is 0 in row {int(np.flatnonzero(y == 0)[0])}, which has no relative error"
            )
        size = np.abs(y)
        relative = (size.min() / size) ** 2
        weights = relative if weights is None else weights * relative
    return weights if weights is None or np.ptp(weights) > 0 else None
