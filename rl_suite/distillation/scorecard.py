"""What an in-context learner is judged by: how far it comes, how fast, and on its worst task."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rl_suite.evaluation.narrow import narrow_table, stacked
from rl_suite.evaluation.report import ORACLE, RANDOM, Report
from rl_suite.evaluation.statistics import Interval, mean, stratified_bootstrap

LATE = 0.2  # share of a trial's episodes that counts as its end
GOOD = 0.85  # of the optimum: how soon an agent gets there
SHOWN_EPISODES = (1, 10, 20, 50)
REGRET = "cumulative_regret"


@dataclass(frozen=True)
class Score:
    """One agent in trials of several episodes; all but the last are shares of the optimum."""

    episodes: Mapping[int, float]
    """Mean return of the n-th episode, for the n of ``SHOWN_EPISODES`` that were played."""
    late: Interval
    """Over the last fifth of the episodes."""
    worst_task: float
    """The same, on the task where it is lowest."""
    area: float
    """Over all episodes."""
    episodes_to_good: int | None
    """First episode from which a mean over three episodes reaches ``GOOD``; None if never."""


def score(curve: NDArray[np.float64], optimum: NDArray[np.float64], **bootstrap: Any) -> Score:
    """Judge returns (tasks, trials, episodes) beside the optimal ones of the same shape.

    Args:
        curve: returns.
        optimum: returns of an oracle in the same episodes.
        bootstrap: ``resamples``, ``confidence`` and ``seed`` of the interval.
    """
    n = curve.shape[2]
    late = max(1, round(LATE * n))
    level = optimum.mean()
    per_trial = curve[:, :, -late:].mean(2) / level
    means = curve.mean((0, 1)) / level
    smooth = np.convolve(means, np.ones(min(3, n)) / min(3, n), mode="valid")
    reached = np.flatnonzero(smooth >= GOOD)
    tasks = curve[:, :, -late:].mean((1, 2)) / np.maximum(optimum.mean((1, 2)), 1e-9)
    grid = per_trial if per_trial.shape[1] > 1 else per_trial.reshape(1, -1)
    interval = Interval(float(grid.mean()), math.nan, math.nan)
    if grid.size > 1:
        interval = stratified_bootstrap(grid, mean, **bootstrap)
    return Score(
        episodes={e: float(means[e - 1]) for e in SHOWN_EPISODES if e <= n},
        late=interval,
        worst_task=float(tasks.min()),
        area=float(means.mean()),
        episodes_to_good=int(reached[0]) + 1 if len(reached) else None,
    )


@dataclass(frozen=True)
class TrialReport:
    """A report on trials, with the scores that matter there."""

    report: Report

    def scores(self) -> dict[str, Score]:
        """Scores of all agents; empty for one-episode trials and without an oracle."""
        oracle = self.report.results.get(ORACLE)
        if oracle is None or oracle.curve is None or oracle.curve.shape[2] < 2:
            return {}
        curves = {name: result.curve for name, result in self.report.results.items()}
        settings = {key: self.report.settings[key] for key in ("resamples", "confidence", "seed")}
        return {name: score(curve, oracle.curve, **settings) for name, curve in curves.items() if curve is not None}

    def regrets(self) -> dict[str, Interval]:
        """Regret of a whole trial, in bandits; empty elsewhere."""
        out = {}
        for name, result in self.report.results.items():
            if REGRET in result.metrics:
                settings = {key: self.report.settings[key] for key in ("resamples", "confidence", "seed")}
                out[name] = result.interval(result.metrics[REGRET], mean, **settings)
        return out

    def tables(self) -> Sequence[Table | str]:
        """The report's own tables, and the scores."""
        tables = list(self.report.tables())
        if scores := self.scores():
            tables.append(_score_table(scores))
        if regrets := self.regrets():
            tables.append(_regret_table(regrets))
        return tables

    def save(self, path: Path) -> None:
        """Write ``evaluation.json`` and, beside it, the picture of the in-context curves."""
        from rl_suite.distillation.pictures import draw_curves

        self.report.save(path)
        curves = {name: result.curve for name, result in self.report.results.items() if result.curve is not None}
        if curves and next(iter(curves.values())).shape[2] > 1:
            draw_curves(curves, self.report.title, path.with_name("in_context_curve.png"))


def _score_table(scores: Mapping[str, Score]) -> Table:
    episodes = list(scores[RANDOM].episodes)
    headings = [*map(str, episodes), "last fifth", "worst", "area", f"to {GOOD:.0%}"]
    caption = (
        "in these episodes of a trial; worst: the task that is lowest in the last fifth;\n"
        f"area: mean over all episodes; to {GOOD:.0%}: episodes until then"
    )
    table = narrow_table("share of the optimum", "agent", headings, caption)
    for name, item in scores.items():
        shares = [f"{item.episodes[e]:.3f}" for e in episodes]
        late = f"{item.late.estimate:.3f} [{item.late.low:.3f}, {item.late.high:.3f}]"
        soon = "never" if item.episodes_to_good is None else str(item.episodes_to_good)
        table.add_row(name, *shares, stacked(late), f"{item.worst_task:.3f}", f"{item.area:.3f}", soon)
    return table


def _regret_table(regrets: Mapping[str, Interval]) -> Table:
    table = narrow_table("regret of a trial (lower is better)", "agent", ["regret"])
    for name, regret in regrets.items():
        table.add_row(name, str(regret))
    return table
