"""A search for settings as a picture: how the best score grew, and which values went with which scores."""

from pathlib import Path

import numpy as np
import optuna

from rl_suite.errors import UserError
from rl_suite.meta_learning.tuning.bayesian import BayesianOptimizer
from rl_suite.viz.saving import save_figure

PANELS_PER_ROW = 3
WIDTH, HEIGHT = 3.6, 2.8  # inches of a panel


def draw_search(search: BayesianOptimizer, path: Path) -> None:
    """Save a figure (PNG or SVG, by the name) of the history, and of the score against each setting.

    Failed evaluations are crosses at the bottom; hollow points were ended early.

    Raises:
        UserError: nothing was evaluated yet.
    """
    from matplotlib.figure import Figure

    history = search.get_optimization_history()
    scores = np.array([item["score"] for item in history], dtype=float)
    if not np.isfinite(scores).any():
        raise UserError("nothing to draw: no evaluation succeeded yet")
    stopped = np.array([item["stopped"] for item in history])
    bottom = np.nanmin(scores)
    names = list(search.ranges)
    rows = -(-(len(names) + 1) // PANELS_PER_ROW)
    figure = Figure(figsize=(WIDTH * PANELS_PER_ROW, HEIGHT * rows), layout="constrained")
    panels = list(figure.subplots(rows, PANELS_PER_ROW, squeeze=False).flat)
    for panel, name in zip(panels, ["evaluation", *names], strict=False):
        values = [number if name == "evaluation" else item["params"].get(name) for number, item in enumerate(history)]
        known = np.array([value is not None or name not in search.conditions for value in values])
        ranges = search.ranges.get(name)
        if isinstance(ranges, optuna.distributions.CategoricalDistribution):
            values = [None if value is None else ranges.choices.index(value) for value in values]
            panel.set_xticks(range(len(ranges.choices)), [str(choice) for choice in ranges.choices])
            panel.set_xlim(-0.5, len(ranges.choices) - 0.5)
        elif isinstance(ranges, optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution):
            panel.set_xscale("log" if ranges.log else "linear")
            panel.set_xlim(ranges.low, ranges.high)
        for mask, style in (
            (np.isfinite(scores) & ~stopped, {"marker": "o", "color": "#0072b2"}),
            (np.isfinite(scores) & stopped, {"marker": "o", "facecolors": "none", "edgecolors": "#0072b2"}),
            (~np.isfinite(scores), {"marker": "x", "color": "#d55e00"}),
        ):
            places = np.flatnonzero(mask & known)
            if len(places):
                heights = np.where(np.isnan(scores), bottom, scores)[places]
                panel.scatter([values[i] for i in places], heights, clip_on=False, **style)
        panel.set_xlabel(name)
        panel.set_ylabel("score")
    panels[0].plot([item["best_score"] for item in history], color="#009e73")
    for panel in panels[len(names) + 1 :]:
        panel.set_axis_off()
    save_figure(figure, path)
