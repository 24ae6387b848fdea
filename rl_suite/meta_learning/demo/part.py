"""What a part of the demonstration hands back, and the data that several parts share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rl_suite.meta_learning.metrics import plain_json
from rl_suite.viz.curves import Curve

TEST_EVERY = 4  # every fourth digit is for tests
BATCH = 64


@dataclass(frozen=True)
class Part:
    """One part: a figure of ours, the same figure of a baseline, and whether ours is better."""

    title: str
    what: str
    """What the figures are."""
    ours: float
    baseline: float
    baseline_name: str
    passed: bool
    condition: str
    """When it has passed, in words."""
    metrics: Mapping[str, float]
    """Measures of ``rl_suite.meta_learning.metrics`` and others, by name."""
    charts: Mapping[str, Mapping[str, Sequence[Curve]]] = field(default_factory=dict)
    """Title of a chart -> name of a line -> its curves."""

    def as_json(self) -> dict[str, Any]:
        """Plain values without the curves."""
        names = ("title", "what", "ours", "baseline", "baseline_name", "passed", "condition", "metrics")
        plain: dict[str, Any] = plain_json({name: getattr(self, name) for name in names})
        return plain


class Digits(NamedTuple):
    """Images (N, 64) in [0, 1] and digits (N,), for training and for tests."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def load_digits() -> Digits:
    """The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn (Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits as load

    pixels, numbers = load(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(numbers)
    test = torch.arange(len(y)) % TEST_EVERY == 0
    return Digits(x[~test], y[~test], x[test], y[test])


def make_net(hidden: int = 64) -> nn.Sequential:
    """A small network for digits."""
    return nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def fit(
    model: nn.Module,
    step: Callable[[float], object],
    x: Tensor,
    y: Tensor,
    steps: int,
    seed: int,
    measure: Callable[[], float] | None = None,
    every: int = 10,
) -> list[float]:
    """Train on batches of one order; ``step`` takes the loss and steps. What ``measure`` says every so many steps."""
    batches, told = np.random.default_rng(seed), []
    for number in range(steps):
        rows = torch.from_numpy(batches.integers(0, len(y), BATCH))
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        step(float(loss.detach()))
        if measure is not None and (number + 1) % every == 0:
            told.append(measure())
    return told


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of right answers."""
    with torch.no_grad():
        return float((model(x).argmax(-1) == y).double().mean())


def curve(values: Sequence[float], first: float = 1.0, step: float = 1.0) -> Curve:
    """Values against steps ``first``, ``first + step``, ..."""
    places: NDArray[np.float64] = first + step * np.arange(len(values), dtype=np.float64)
    return places, np.asarray(values, dtype=np.float64)
