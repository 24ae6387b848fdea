"""Several runs on one page: seeds of an experiment together, experiments beside each other with their differences.

Every run counts as one value, the number of its verdict: intervals are over training seeds, which a single run's
report cannot know.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.evaluation.statistics import stratified_bootstrap
from rl_suite.reading import is_plain_file
from rl_suite.report.findings import OWN, REFERENCE, Comparison, Estimate, Row
from rl_suite.report.forest import forest_of
from rl_suite.report.page import findings_of, render, titled
from rl_suite.run import Run
from rl_suite.viz.curves import Curve, changing, draw_groups, matters, read_metrics

CONFIDENCE = 0.95
RESAMPLES = 2000
MOST_CHARTS = 9
MOST_SEEDS = 20  # of an experiment that are drawn one by one; the table has all


@dataclass(frozen=True)
class Group:
    """The runs of one experiment."""

    name: str
    measure: str
    runs: Sequence[Run]
    values: Sequence[Estimate]

    @property
    def points(self) -> np.ndarray:
        """(S,) one number per seed."""
        return np.array([value.value for value in self.values])

    @property
    def mean(self) -> Estimate:
        """Mean over the seeds with Student's interval; without one for a single seed."""
        points = self.points
        if len(points) < 2:
            return Estimate(float(points[0]))
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(points) - 1) * points.std(ddof=1) / math.sqrt(len(points)))
        return Estimate(float(points.mean()), float(points.mean()) - half, float(points.mean()) + half)

    @property
    def iqm(self) -> Estimate:
        """Interquartile mean over the seeds with a bootstrap interval; without one for a single seed."""
        points = self.points
        if len(points) < 2:
            return Estimate(float(points[0]))
        return Estimate(*stratified_bootstrap(points, resamples=RESAMPLES, confidence=CONFIDENCE, seed=0))


def write_comparison(runs: Sequence[Run], path: Path) -> Path:
    """Write one page about all ``runs``; returns its place.

    Raises:
        UserError: a run without results, or runs that measured different things.
    """
    groups = group(runs)
    measures = dict.fromkeys(one.measure for one in groups)
    if len(measures) > 1:
        raise UserError(f"these runs measured different things: {'; '.join(measures)}")
    write_atomically(path, comparison_page(groups))
    return path


def comparison_page(groups: Sequence[Group], notes: Sequence[str] = ()) -> bytes:
    """The page about all ``groups``; those that measured different things stand in sections of their own."""
    measures = dict.fromkeys(one.measure for one in groups)
    sections = [_section([one for one in groups if one.measure == measure]) for measure in measures]
    title = " and ".join(one.name for one in groups)
    return render("comparison.html", title=title, notes=notes, sections=sections).encode("utf-8", "replace")


def _section(groups: Sequence[Group]) -> dict[str, Any]:
    comparisons = [_seeds(groups), *_differences(groups)]
    return {
        "measure": groups[0].measure,
        "sentences": [_sentence(groups[0], other) for other in groups[1:]],
        "forests": [forest for comparison in comparisons if (forest := forest_of(comparison))],
        "curves": titled(draw_groups(_curves(groups))),
        "runs": [
            (one.name, str(run.path), value.says())
            for one in groups
            for run, value in zip(one.runs, one.values, strict=True)
        ],
    }


def group(runs: Sequence[Run]) -> list[Group]:
    """The runs by experiment, in the order in which they were named."""
    found: dict[tuple[str, str], list[tuple[Run, Estimate]]] = {}
    for run in runs:
        findings, _ = findings_of(run.path)
        if findings is None or findings.main is None:
            raise UserError(f"{run.path}: holds no result yet; python evaluate.py {run.path} makes one")
        found.setdefault((_name_of(run), findings.main_name), []).append((run, findings.main))
    return [
        Group(name, measure, [run for run, _ in members], [value for _, value in members])
        for (name, measure), members in found.items()
    ]


def _name_of(run: Run) -> str:
    """The folder that collects the seeds of the run: other settings have another one. Else its experiment."""
    settings = run.settings()
    seeds_lie_together = run.path.name == str(settings.get("seed")) and run.path.parent.name
    return run.path.parent.name if seeds_lie_together else str(settings.get("experiment", run.path.name))


def difference(first: Group, other: Group) -> Estimate:
    """Mean of ``other`` minus mean of ``first``, with Welch's interval where both have two seeds."""
    a, b = first.points, other.points
    change = float(b.mean() - a.mean())
    if min(len(a), len(b)) < 2:
        return Estimate(change)
    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    if not parts.sum():
        return Estimate(change, change, change)
    freedom = parts.sum() ** 2 / (parts**2 / np.array([len(a) - 1, len(b) - 1])).sum()
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * math.sqrt(parts.sum()))
    return Estimate(change, change - half, change + half)


def _sentence(first: Group, other: Group) -> str:
    change = difference(first, other)
    text = f"{other.name} minus {first.name}: {change.says()}"
    if change.low is None or change.high is None:
        return f"{text}. One seed has no interval: whether they differ is not known; train more seeds."
    if change.low <= 0 <= change.high:
        return f"{text}. No difference is shown."
    return f"{text}. They differ, over {len(first.runs)} and {len(other.runs)} seeds."


def _seeds(groups: Sequence[Group]) -> Comparison:
    rows = []
    for one in groups:
        rows.append(Row(one.name, one.mean, OWN, f"mean of {len(one.runs)} seeds"))
        if len(one.runs) > 1:
            rows.append(Row(one.name, one.iqm, OWN, f"IQM of {len(one.runs)} seeds"))
        if 1 < len(one.runs) <= MOST_SEEDS:
            rows += [
                Row(f"seed {run.settings().get('seed', run.path.name)}", value, REFERENCE)
                for run, value in zip(one.runs, one.values, strict=True)
            ]
    return Comparison(
        groups[0].measure[:1].upper() + groups[0].measure[1:],
        rows,
        "Means have Student's interval over training seeds, interquartile means (IQM) a bootstrap interval, single "
        "seeds one over their episodes.",
    )


def _differences(groups: Sequence[Group]) -> list[Comparison]:
    if len(groups) < 2:
        return []
    rows = [Row(one.name, difference(groups[0], one), OWN) for one in groups[1:]]
    return [Comparison(f"Difference to {groups[0].name}", rows, "Over training seeds; 0 is no difference.", chance=0.0)]


def _curves(groups: Sequence[Group]) -> dict[str, dict[str, list[Curve]]]:
    """Tag -> experiment -> curves of its seeds, for the curves that matter."""
    found: dict[str, dict[str, list[Curve]]] = {}
    for one in groups:
        for run in one.runs[:MOST_SEEDS]:
            path = run.path / "metrics.jsonl"
            for tag, curve in (changing(read_metrics(path)) if is_plain_file(path) else {}).items():
                if matters(tag):
                    found.setdefault(tag, {}).setdefault(one.name, []).append(curve)
    return dict(list(found.items())[:MOST_CHARTS])
