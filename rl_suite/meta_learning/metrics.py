"""Scores over tasks: a mean with its interval, how unequal the tasks are, and paired comparisons."""

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
from torch import Tensor

from rl_suite.checkpoint import write_atomically
from rl_suite.evaluation.statistics import Interval, mean, permutation_test
from rl_suite.loading import require_known

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


def plain_json(value: Any) -> Any:
    """Lists and numbers for JSON, which knows neither arrays nor NaN."""
    if isinstance(value, np.ndarray | np.generic):
        return plain_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
