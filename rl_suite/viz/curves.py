"""Learning curves out of ``metrics.jsonl``, as small charts side by side."""

import io
import itertools
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rl_suite.reading import parse_json, read_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # steps (n,), values (n,)

GROUPS = ("eval", "rollout", "train", "attention", "time")  # in the order in which one wants to see them
CLOCKS = {"time/time_elapsed", "time/total_timesteps", "train/n_updates"}  # count up, whatever happens
CHART = (3.3, 1.8)  # inches
FEWEST_POINTS = 3  # two points make no curve
MATTERING = {"rollout/ep_rew_mean", "rollout/success_rate", "train/loss", "train/accuracy"}  # beside all of eval/
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito (2008)
INK, LINE = "#475569", "#cbd5e1"  # replaced by the page's own colours, which may be light on dark
MOST_POINTS = 400  # of a drawn curve: a chart is about so many pixels wide


def read_metrics(path: Path) -> dict[str, Curve]:
    """Every tag of a ``metrics.jsonl`` with its steps and finite values; a line that was cut off is left out."""
    points: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in read_text(path).splitlines():
        values = parse_json(line)
        if not isinstance(values, dict) or not _is_finite(values.get("step")):
            continue
        step = values.pop("step")
        for tag, value in values.items():
            if _is_finite(value):
                points[tag].append((step, value))
    curves = {}
    for tag, pairs in points.items():
        steps, values = np.array(pairs, dtype=np.float64).T
        curves[tag] = (steps, values)
    return curves


def _is_finite(value: object) -> bool:
    """Whether it is a number that a float can hold; JSON knows larger ones."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def changing(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """The curves worth a chart, in the order of ``GROUPS``: three points at least, and not always the same value."""
    worth = {
        tag: curve
        for tag, curve in curves.items()
        if len(curve[1]) >= FEWEST_POINTS and np.ptp(curve[1]) > 0 and tag not in CLOCKS
    }
    rank = {group: i for i, group in enumerate(GROUPS)}
    return dict(sorted(worth.items(), key=lambda item: (rank.get(item[0].split("/")[0], len(GROUPS)), item[0])))


def thinned(curve: Curve, most: int = MOST_POINTS) -> Curve:
    """Means of runs of neighbouring points, so that at most ``most`` are left."""
    steps, values = curve
    if len(steps) <= most:
        return curve
    parts = np.array_split(np.arange(len(steps)), most)
    return np.array([steps[p].mean() for p in parts]), np.array([values[p].mean() for p in parts])


def matters(tag: str) -> bool:
    """Whether a curve says if the agent learns; the others are for whoever looks for a fault."""
    return tag.startswith("eval/") or tag in MATTERING


def draw_metrics(curves: Mapping[str, Curve]) -> dict[str, str]:
    """A chart of every curve, by its tag."""
    return draw_groups({tag: {"": [curve]} for tag, curve in curves.items()})


def draw_groups(charts: Mapping[str, Mapping[str, Sequence[Curve]]]) -> dict[str, str]:
    """Charts (by tag) of groups of curves, each an SVG: a group in its colour, its mean bold where steps agree.

    The colours of text and axes are those of the page (CSS variables), light or dark.
    """
    return {tag: _draw_chart(groups) for tag, groups in charts.items()}


def _draw_chart(groups: Mapping[str, Sequence[Curve]]) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "rl_suite", "font.size": 8, "text.color": INK}):
        figure = Figure(figsize=CHART, layout="constrained")
        axes = figure.subplots()
        for colour, (name, curves) in zip(itertools.cycle(COLOURS), groups.items(), strict=False):
            _draw_group(axes, curves, colour, name)
        if any(groups):
            axes.legend(frameon=False, fontsize=7, labelcolor=INK)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.locator_params(axis="x", nbins=5)
        axes.tick_params(colors=INK, length=2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(LINE)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return (
        svg[svg.index("<svg") :]
        .replace(INK, "var(--quiet)")
        .replace(LINE, "var(--line)")
        .replace(COLOURS[0], "var(--own)")
    )


def _draw_group(axes: "Axes", curves: Sequence[Curve], colour: str, name: str) -> None:
    """One curve bold; of several each thin and their mean bold, if they have the same steps."""
    same = all(np.array_equal(curves[0][0], steps) for steps, _ in curves)
    if len(curves) > 1:
        for curve in curves:
            axes.plot(*thinned(curve), color=colour, linewidth=0.7, alpha=0.5)
    if same:
        steps = curves[0][0]
        mean = np.mean([values for _, values in curves], axis=0)
        axes.plot(*thinned((steps, mean)), color=colour, linewidth=1.4, label=name or None)
    else:
        axes.plot([], [], color=colour, label=name or None)
