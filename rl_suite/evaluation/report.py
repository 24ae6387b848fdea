"""What an evaluation found: every episode, its statistics, a table for people and JSON for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rl_suite.checkpoint import write_atomically
from rl_suite.evaluation.narrow import narrow_table
from rl_suite.evaluation.statistics import (
    Interval,
    Statistic,
    iqm,
    mean,
    paired_bootstrap,
    probability_of_improvement,
    stratified_bootstrap,
)

Grid = NDArray[np.float64]  # (T, E): tasks, episodes of each

RANDOM, ORACLE = "random", "oracle"


@dataclass(frozen=True)
class EvaluationResult:
    """The episodes of one agent: T tasks with E episodes each."""

    tasks: NDArray[np.int64] | None
    """(T,) which tasks; None for a world without, whose T * E episodes differ only in their seeds."""
    returns: Grid  # (T, E)
    lengths: NDArray[np.int64]  # (T, E) steps
    successes: Grid | None = None  # (T, E) 0 or 1, where the world says ``is_success``
    metrics: Mapping[str, Grid] = field(default_factory=dict)
    """Numbers of each episode's last info, (T, E) each; NaN where one was not reported."""
    curve: NDArray[np.float64] | None = None
    """(T, E, K) of trials: the return of each of their K episodes."""

    def scores(self, values: Grid) -> Grid:
        """The values as the bootstrap wants them: one row per stratum.

        Without tasks, or with a single episode on each, nothing can be resampled within a task, and all
        episodes form one stratum: the interval then includes the choice of the tasks.
        """
        pooled = self.tasks is None or values.shape[1] == 1
        return values.reshape(1, -1) if pooled else values

    def interval(self, values: Grid, statistic: Statistic, resamples: int, confidence: float, seed: int) -> Interval:
        """``statistic`` of (T, E) values with its interval, which is NaN for a single episode."""
        scores = self.scores(values)
        if scores.size == 1:
            return Interval(float(scores[0, 0]), math.nan, math.nan)
        return stratified_bootstrap(scores, statistic, resamples=resamples, confidence=confidence, seed=seed)


class Section(Protocol):
    """Something more that was measured, such as control fields or what a part of the network is worth."""

    def tables(self) -> Sequence[Table | str]:
        """What to print, in order."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""


@dataclass(frozen=True)
class Report:
    """Several agents on the same episodes."""

    title: str
    settings: Mapping[str, Any]
    """What was played, as plain values; ``resamples``, ``confidence`` and ``seed`` also decide the intervals."""
    results: Mapping[str, EvaluationResult]
    sections: Mapping[str, Section] = field(default_factory=dict)
    """Further measurements, by the name under which the JSON keeps them."""

    def interval(self, name: str, statistic: Statistic = iqm) -> Interval:
        """``statistic`` of the returns of one agent, with its interval."""
        result = self.results[name]
        return result.interval(result.returns, statistic, **self._bootstrap())

    def share_of_oracle(self, name: str) -> float | None:
        """Where the IQM stands between the random agent's (0) and the oracle's (1); None without both."""
        if RANDOM not in self.results or ORACLE not in self.results:
            return None
        low, high = (float(iqm(self.results[end].returns)) for end in (RANDOM, ORACLE))
        return (float(iqm(self.results[name].returns)) - low) / (high - low) if high > low else None

    def tables(self) -> list[Table | str]:
        """All there is to print: the agents, the curve of trials where there are any, further sections."""
        curve = self.curve_table()
        own: list[Table | str] = [self.table()] if curve is None else [self.table(), curve]
        return own + [table for section in self.sections.values() for table in section.tables()]

    def table(self) -> Table:
        """One row per agent, within 80 columns; further intervals are in the JSON and in the page."""
        percent = f"{self.settings['confidence']:.0%}"
        some = next(iter(self.results.values()))
        n_tasks, n_episodes = some.returns.shape
        units = "seeds" if some.tasks is None else "tasks"
        caption = self._caption(n_tasks, units, n_episodes)
        columns = {
            f"return, IQM [{percent}]": [_bracket(self.interval(name)) for name in self.results],
            "mean": [f"{result.returns.mean():.4g}" for result in self.results.values()],
            "of oracle": [_percent(self.share_of_oracle(name)) for name in self.results],
            "success": [_percent(result.successes) for result in self.results.values()],
            "steps": [f"{result.lengths.mean():.4g}" for result in self.results.values()],
        }
        columns = {heading: cells for heading, cells in columns.items() if any(cells)}
        table = narrow_table(self.title, "agent", columns, caption)
        for name, *cells in zip(self.results, *columns.values(), strict=True):
            table.add_row(name, *cells)
        return table

    def curve_table(self) -> Table | None:
        """Mean return against the episode's index within the trial; None if no trial has several episodes."""
        curves = {name: r.curve for name, r in self.results.items() if r.curve is not None and r.curve.shape[2] > 1}
        if not curves:
            return None
        count = max(curve.shape[2] for curve in curves.values())
        shown = sorted({round(i) for i in np.linspace(0, count - 1, min(count, 8))})
        episodes = (str(index + 1) for index in shown)
        table = narrow_table("mean return of the n-th episode of a trial", "agent", episodes)
        for name, curve in curves.items():
            points = (curve[:, :, i] for i in shown if i < curve.shape[2])
            table.add_row(
                name,
                *(f"{point[np.isfinite(point)].mean():.4g}" if np.isfinite(point).any() else "-" for point in points),
            )
        return table

    def as_json(self) -> dict[str, Any]:
        """Plain values: settings, statistics, comparisons with the random agent, and every episode."""
        content = {
            "title": self.title,
            "settings": dict(self.settings),
            "agents": {name: self._agent_json(name) for name in self.results},
            **{name: section.as_json() for name, section in self.sections.items()},
            "against_random": {name: self._comparison(name) for name in self.results if self._comparable(name)},
        }
        plain: dict[str, Any] = _plain(content)
        return plain

    def save(self, path: Path | str) -> None:
        """Write ``evaluation.json``, whole or not at all."""
        write_atomically(Path(path), (json.dumps(self.as_json(), allow_nan=False) + "\n").encode())

    def _agent_json(self, name: str) -> dict[str, Any]:
        result = self.results[name]
        content: dict[str, Any] = {
            "iqm": self.interval(name)._asdict(),
            "mean": self.interval(name, mean)._asdict(),
            "share_of_oracle": self.share_of_oracle(name),
            "returns": result.returns,
            "lengths": result.lengths,
            "tasks": result.tasks,
            "metrics": {key: float(np.nanmean(value)) for key, value in result.metrics.items()},
            "metrics_per_episode": dict(result.metrics),
        }
        if result.successes is not None:
            content["success_rate"] = result.interval(result.successes, mean, **self._bootstrap())._asdict()
        if result.curve is not None:
            points = [result.curve[:, :, i] for i in range(result.curve.shape[2])]
            whole = [point for point in points if np.isfinite(point).all()]
            content["in_context_curve"] = [
                result.interval(point, mean, **self._bootstrap())._asdict() for point in whole
            ]
            content["curve_per_trial"] = result.curve
        return content

    def _comparable(self, name: str) -> bool:
        """The random agent is compared with itself by nobody; the oracle's returns are not played."""
        return RANDOM in self.results and name not in (RANDOM, ORACLE) and self.results[name].returns.size > 1

    def _comparison(self, name: str) -> dict[str, Any]:
        ours, random = (self.results[which] for which in (name, RANDOM))
        pair = ours.scores(ours.returns), random.scores(random.returns)
        return {
            "paired_difference_of_means": paired_bootstrap(*pair, **self._bootstrap())._asdict(),
            "probability_of_improvement": probability_of_improvement(*pair, **self._bootstrap())._asdict(),
        }

    def _bootstrap(self) -> dict[str, Any]:
        return {key: self.settings[key] for key in ("resamples", "confidence", "seed")}

    def _caption(self, n_tasks: int, units: str, n_episodes: int) -> str:
        caption = f"{n_tasks} {units} x {n_episodes} episodes, the same for every agent"
        return caption if ORACLE in self.results else caption + "; this world knows no oracle"


def _bracket(interval: Interval) -> str:
    return str(interval) if math.isfinite(interval.low) else f"{interval.estimate:.4g}"


def _percent(share: float | NDArray[np.float64] | None) -> str:
    """The mean as a percentage; nothing where nothing is known."""
    return "" if share is None else f"{np.mean(share):.1%}"


def _plain(value: Any) -> Any:
    """Lists and numbers for JSON, which knows neither arrays nor NaN."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
