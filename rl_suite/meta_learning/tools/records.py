"""What executions tell besides success: costs, times and qualities of tools, and the log of predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.tools.profiles import ToolProfile, require_amount
from rl_suite.meta_learning.tools.success import counts_from, listed

Floats = NDArray[np.float64]

METRICS = ("quality_score", "efficiency_score", "latency", "cost")
SCORES = ("quality_score", "efficiency_score")  # between 0 and 1
AMOUNTS = ("cost", "latency", "quality")
RATE = 0.1  # at least this share of a new observation goes into an average, so that it follows what drifts
MOST_LOGGED = 100_000  # executions; the oldest are forgotten


def read_metrics(metrics: Any) -> dict[str, float]:
    """The metrics of one execution; ``UserError`` for an unknown one or a number out of range."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise UserError(f"metrics must be a mapping, not {type(metrics).__name__}")
    for name, value in metrics.items():
        require_known(name, METRICS, "metric")
        if require_amount(value, f"metric {name}") > 1.0 and name in SCORES:
            raise UserError(f"metric {name} must lie between 0 and 1, not {value!r}")
    return {name: float(value) for name, value in metrics.items()}


class Amounts:
    """Running averages of each tool's cost, latency and quality; they begin at what its profile says (quality at 1)."""

    def __init__(self, tools: Sequence[ToolProfile]):
        self.cost = np.array([float(tool.cost_per_use) for tool in tools])  # (K,)
        self.latency = np.array([float(tool.latency) for tool in tools])  # (K,) seconds
        self.quality = np.ones(len(tools))  # (K,)
        self.counts = np.ones((len(AMOUNTS), len(tools)))  # (3, K) observations; the profile counts as one

    def learn(self, called: Sequence[int], success: bool, metrics: Mapping[str, float]) -> None:
        """Divide what an execution cost and took among the called tools, in proportion to what was expected of each.

        The quality of a success belongs to the tool that was called last.
        """
        for place, name in enumerate(("cost", "latency")):
            if name in metrics:
                average = getattr(self, name)
                share = average[called] + 1e-12
                self._move(average, place, called, metrics[name] * share / share.sum())
        if success and "quality_score" in metrics:
            self._move(self.quality, 2, called[-1:], np.array([metrics["quality_score"]]))

    def _move(self, average: Floats, place: int, tools: Sequence[int], values: Floats) -> None:
        self.counts[place, tools] += 1.0
        average[tools] += np.maximum(1.0 / self.counts[place, tools], RATE) * (values - average[tools])

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**{name: getattr(self, name).tolist() for name in AMOUNTS}, "counts": self.counts.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from plain values."""
        for name in (*AMOUNTS, "counts"):
            setattr(self, name, counts_from(state.get(name), getattr(self, name).shape))


class Log:
    """Every execution: what was predicted, whether it succeeded, and its metrics."""

    def __init__(self) -> None:
        self.predicted: list[float] = []
        self.succeeded: list[bool] = []
        self.metrics: list[dict[str, float]] = []

    def __len__(self) -> int:
        return len(self.succeeded)

    def add(self, predicted: float, success: bool, metrics: Mapping[str, float]) -> None:
        """One more execution."""
        for column, value in ((self.predicted, predicted), (self.succeeded, success), (self.metrics, dict(metrics))):
            column.append(value)  # type: ignore[arg-type]
            del column[:-MOST_LOGGED]

    def success_rate(self, first: int | None = None, last: int | None = None) -> float | None:
        """Of the first or last executions; None where there is none."""
        chosen = self.succeeded[:first] if last is None else self.succeeded[-last:]
        return float(np.mean(chosen)) if chosen else None

    def means(self, last: int) -> dict[str, float]:
        """Mean of every metric that the last executions told."""
        chosen = self.metrics[-last:]
        told = {name: [each[name] for each in chosen if name in each] for name in METRICS}
        return {f"recent_{name}": float(np.mean(values)) for name, values in told.items() if values}

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"predicted": self.predicted, "succeeded": self.succeeded, "metrics": self.metrics}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from plain values."""
        succeeded = listed(state.get("succeeded"), bool)
        predicted = counts_from(state.get("predicted"), (len(succeeded),))
        metrics = [read_metrics(each) for each in listed(state.get("metrics"))]
        if len(metrics) != len(succeeded) or (predicted > 1.0).any():
            raise UserError("not a saved tool learner: its log is of different lengths or has chances above 1")
        self.predicted, self.succeeded, self.metrics = predicted.tolist(), succeeded, metrics
