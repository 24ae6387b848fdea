"""Learning curves out of ``metrics.jsonl``, as small charts side by side."""

import io
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl_suite.reading import parse_json, read_text

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # steps (n,), values (n,)

GROUPS = ("eval", "rollout", "train", "attention", "time")  # in the order in which one wants to see them
CLOCKS = {"time/time_elapsed", "time/total_timesteps", "train/n_updates"}  # count up, whatever happens
CHARTS_PER_ROW = 3
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
    """The curves worth a chart, in the order of ``GROUPS``: two points at least, and not always the same value."""
    worth = {
        tag: curve for tag, curve in curves.items() if len(curve[1]) > 1 and np.ptp(curve[1]) > 0 and tag not in CLOCKS
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


def draw_metrics(curves: Mapping[str, Curve]) -> str:
    """All curves as one SVG; the empty string if there are none."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    if not curves:
        return ""
    n_rows = -(-len(curves) // CHARTS_PER_ROW)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "rl_suite", "font.size": 8, "text.color": "#475569"}):
        figure = Figure(figsize=(10, 1.9 * n_rows), layout="constrained")
        cells = figure.subplots(n_rows, CHARTS_PER_ROW, squeeze=False).ravel()
        for axes, (tag, curve) in zip(cells, curves.items(), strict=False):
            steps, values = thinned(curve)
            axes.plot(steps, values, color="#2563eb", linewidth=1.4)
            axes.set_title(tag, loc="left", fontsize=8)
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.tick_params(colors="#64748b", length=2)
            axes.spines[["top", "right"]].set_visible(False)
            axes.spines[["left", "bottom"]].set_color("#cbd5e1")
        for axes in cells[len(curves) :]:
            axes.set_visible(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
