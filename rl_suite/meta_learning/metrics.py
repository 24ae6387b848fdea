"""Scores over tasks: a mean with its interval, how unequal the tasks are, paired comparisons, and other measures."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy.stats import t as student
from torch import Tensor, nn

from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.evaluation.statistics import Interval, mean, permutation_test
from rl_suite.loading import require_known
from rl_suite.meta_learning.continual.metrics import forgetting

__all__ = [
    "Comparison",
    "TaskReport",
    "TaskScores",
    "adaptation_speed",
    "architecture_quality",
    "compare",
    "forgetting",
    "mean_interval",
    "parameter_efficiency",
    "plain_json",
    "sample_efficiency",
    "tool_success",
    "write_scalars",
]

CONFIDENCE = 0.95
PERMUTATIONS = 2000
WORST_SHARE = 0.1  # of the tasks: the worst decile


@dataclass(frozen=True)
class TaskScores:
    """One number per task, such as the accuracy on its query set."""

    values: NDArray[np.float64]  # (n,)
    higher_is_better: bool = True

    @classmethod
    def of(cls, values: ArrayLike | Tensor, higher_is_better: bool = True) -> "TaskScores":
        """Scores out of anything with numbers."""
        plain = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        return cls(np.asarray(plain, dtype=np.float64).reshape(-1), higher_is_better)

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.values)

    @property
    def interval(self) -> Interval:
        """Mean over tasks with its 95 % interval."""
        return mean_interval(self.values)

    @property
    def deviation(self) -> float:
        """Standard deviation over tasks."""
        return float(self.values.std(ddof=1)) if self.n > 1 else math.nan

    @property
    def worst_decile(self) -> float:
        """Mean of the worst tenth of the tasks (of one task at least)."""
        worst_first = np.sort(self.values) if self.higher_is_better else -np.sort(-self.values)
        return float(worst_first[: max(1, round(WORST_SHARE * self.n))].mean())

    def as_json(self) -> dict[str, Any]:
        """Plain values, every task among them."""
        return {
            "mean": self.interval._asdict(),
            "n": self.n,
            "deviation": self.deviation,
            "worst_decile": self.worst_decile,
            "values": self.values.tolist(),
        }


def mean_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Mean with Student's interval; the ends are NaN where one value says nothing about the spread.

    >>> [round(x, 3) for x in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    if array.size == 0:
        raise ValueError("no values")
    centre = float(array.mean())
    if array.size == 1:
        return Interval(centre, math.nan, math.nan)
    half = float(student.ppf((1 + confidence) / 2, array.size - 1) * array.std(ddof=1) / math.sqrt(array.size))
    return Interval(centre, centre - half, centre + half)


@dataclass(frozen=True)
class Comparison:
    """Two learners on the same tasks."""

    difference: Interval
    """Mean of x - y over tasks, with the interval of the paired differences."""
    p_value: float
    """Of a paired permutation test, two-sided."""


def compare(x: TaskScores, y: TaskScores, seed: int = 0) -> Comparison:
    """Compare two learners that met the same tasks in the same order."""
    if x.n != y.n:
        raise ValueError(f"paired scores need the same tasks, not {x.n} and {y.n} of them")
    p = permutation_test(x.values, y.values, mean, paired=True, permutations=PERMUTATIONS, seed=seed)
    return Comparison(mean_interval(x.values - y.values), p)


@dataclass(frozen=True)
class TaskReport:
    """Several learners, or one learner in several states, on the same held-out tasks."""

    title: str
    what: str
    """What is measured, such as "accuracy" or "squared error"."""
    settings: Mapping[str, Any]
    """What was measured on, as plain values."""
    scores: Mapping[str, TaskScores]
    """By name of the row; the first row is the one that the others are compared with."""
    notes: Sequence[str] = ()
    """Sentences that a reader needs."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More for the JSON file, as plain values."""

    def tables(self) -> list[Table | str]:
        """One row per learner: mean and interval, spread, worst decile, difference from the first row."""
        table = Table(title=self.title, title_justify="left", caption="\n".join(self.notes) or None, box=SIMPLE_HEAD)
        table.add_column("", overflow="fold")
        for heading in (f"{self.what} [95%]", "spread", "worst tenth", "first minus this [95%]", "tasks"):
            table.add_column(heading, justify="right")
        first = next(iter(self.scores.values()))
        for name, scores in self.scores.items():
            paired = scores is not first and scores.n == first.n
            gap = str(compare(first, scores).difference) if paired else ""
            spread, worst = f"{scores.deviation:.3g}", f"{scores.worst_decile:.4g}"
            table.add_row(name, str(scores.interval), spread, worst, gap, str(scores.n))
        return [table]

    def as_json(self) -> dict[str, Any]:
        """Plain values; what is not finite becomes null."""
        first = next(iter(self.scores.values()))
        others = {name: s for name, s in self.scores.items() if s is not first and s.n == first.n}
        comparisons = {name: compare(first, scores) for name, scores in others.items()}
        content = {
            "title": self.title,
            "measure": self.what,
            "settings": dict(self.settings),
            "results": {name: scores.as_json() for name, scores in self.scores.items()},
            "first_row_minus": {
                name: {"difference": c.difference._asdict(), "p_value": c.p_value} for name, c in comparisons.items()
            },
            "notes": list(self.notes),
            **self.extra,
        }
        plain: dict[str, Any] = plain_json(content)
        return plain

    def save(self, path: Path) -> None:
        """Write ``evaluation.json``, whole or not at all."""
        write_atomically(path, (json.dumps(self.as_json(), allow_nan=False) + "\n").encode())

    def row(self, name: str) -> TaskScores:
        """The scores of one row."""
        require_known(name, self.scores, "row")
        return self.scores[name]


def adaptation_speed(scores: ArrayLike, target: float, higher_is_better: bool = True) -> int | None:
    """Steps of adaptation until the score is at ``target``; None where it never is.

    Args:
        scores: after 0, 1, 2, ... steps (n,), or of several tasks, whose mean counts (tasks, n).
        target: score that is good enough.
        higher_is_better: False for errors.

    >>> adaptation_speed([3.0, 1.2, 0.4, 0.5], 0.5, higher_is_better=False)
    2
    """
    means = np.atleast_2d(np.asarray(scores, dtype=np.float64)).mean(axis=0)
    reached = np.flatnonzero(means >= target if higher_is_better else means <= target)
    return int(reached[0]) if len(reached) else None


def sample_efficiency(samples: ArrayLike, scores: ArrayLike) -> float:
    """Mean score over the logarithm of the number of examples: doubling few counts as much as doubling many.

    Args:
        samples: numbers of examples, rising (n,).
        scores: with as many examples (n,).

    >>> sample_efficiency([1, 2, 4], [0.0, 0.5, 1.0])
    0.5
    """
    steps, values = np.log(np.asarray(samples, dtype=np.float64)), np.asarray(scores, dtype=np.float64)
    if len(steps) < 2 or steps.shape != values.shape or not (np.diff(steps) > 0).all():
        raise UserError("sample efficiency needs a score for each of at least two rising numbers of examples")
    return float(np.trapezoid(values, steps) / (steps[-1] - steps[0]))


def parameter_efficiency(model: nn.Module) -> float:
    """Trained parameters over all of them; 1 where nothing is frozen."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    total = sum(size for size, _ in sizes)
    return sum(size for size, trained in sizes if trained) / total if total else math.nan


def tool_success(succeeded: ArrayLike, cost: ArrayLike) -> dict[str, float]:
    """Success rate of executions (n,), and what a success cost on average (infinite without one)."""
    hits, spent = np.asarray(succeeded, dtype=np.float64), float(np.asarray(cost, dtype=np.float64).sum())
    won = float(hits.sum())
    return {"success_rate": float(hits.mean()), "cost_per_success": spent / won if won else math.inf}


def architecture_quality(found: float, typical: float, best: float) -> float:
    """Share of the way from a typical architecture to the best known one; 1 is the best."""
    if best <= typical:
        raise UserError("the best architecture must be better than a typical one")
    return (found - typical) / (best - typical)


def write_scalars(folder: Path, metrics: Mapping[str, float], step: int = 0) -> None:
    """Write metrics into TensorBoard's files of a folder, under ``meta/``; what is not finite is left out."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, value in metrics.items():
            if math.isfinite(value):
                writer.add_scalar(f"meta/{name}", value, step)


def plain_json(value: Any) -> Any:
    """Lists and numbers for JSON, which knows neither arrays nor NaN."""
    if isinstance(value, np.ndarray | np.generic):
        return plain_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
