"""Several runs on one page: seeds of an experiment together, experiments beside each other with their differences.

Every run counts as one value, the number of its verdict: intervals are over training seeds, which a single run's
report cannot know.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from scipy import stats

from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.reading import is_plain_file
from rl_suite.report.findings import OWN, REFERENCE, Comparison, Estimate, Row
from rl_suite.report.forest import forest_of
from rl_suite.report.page import findings_of, render
from rl_suite.run import Run
from rl_suite.viz.curves import Curve, changing, draw_groups, matters, read_metrics

CONFIDENCE = 0.95
MOST_CHARTS = 9


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


def write_comparison(runs: Sequence[Run], path: Path) -> Path:
    """Write one page about all ``runs``; returns its place.

    Raises:
        UserError: a run without results, or runs that measured different things.
    """
    groups = group(runs)
    comparisons = [_seeds(groups), *_differences(groups)]
    content = {
        "title": " and ".join(one.name for one in groups),
        "measure": groups[0].measure,
        "sentences": [_sentence(groups[0], other) for other in groups[1:]],
        "forests": [forest for comparison in comparisons if (forest := forest_of(comparison))],
        "curves": Markup(draw_groups(_curves(groups))),
        "runs": [
            (one.name, str(run.path), value.says())
            for one in groups
            for run, value in zip(one.runs, one.values, strict=True)
        ],
    }
    write_atomically(path, render("comparison.html", **content).encode("utf-8", "replace"))
    return path


def group(runs: Sequence[Run]) -> list[Group]:
    """The runs by experiment, in the order in which they were named."""
    found: dict[str, list[tuple[Run, Estimate, str]]] = {}
    for run in runs:
        findings, _ = findings_of(run.path)
        if findings is None or findings.main is None:
            raise UserError(f"{run.path}: holds no result yet; python evaluate.py {run.path} makes one")
        name = str(run.settings().get("experiment", run.path.name))
        found.setdefault(name, []).append((run, findings.main, findings.main_name))
    measures = dict.fromkeys(measure for members in found.values() for _, _, measure in members)
    if len(measures) > 1:
        raise UserError(f"these runs measured different things: {'; '.join(measures)}")
    return [
        Group(name, members[0][2], [run for run, _, _ in members], [value for _, value, _ in members])
        for name, members in found.items()
    ]


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
            rows += [
                Row(f"seed {run.settings().get('seed', run.path.name)}", value, REFERENCE)
                for run, value in zip(one.runs, one.values, strict=True)
            ]
    return Comparison(
        groups[0].measure[:1].upper() + groups[0].measure[1:],
        rows,
        "Means have their interval over training seeds, single seeds over their episodes.",
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
        for run in one.runs:
            path = run.path / "metrics.jsonl"
            for tag, curve in (changing(read_metrics(path)) if is_plain_file(path) else {}).items():
                if matters(tag):
                    found.setdefault(tag, {}).setdefault(one.name, []).append(curve)
    return dict(list(found.items())[:MOST_CHARTS])
