"""The picture of in-context learning: return against the episode of a trial."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl_suite.evaluation.report import ORACLE, RANDOM
from rl_suite.viz.saving import save_figure

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#db2777")
MUTED = {RANDOM: ("#94a3b8", ":"), ORACLE: ("#334155", "--")}
NORMAL_95 = 1.96  # standard errors on either side of a mean that hold 95 % of a normal distribution


def draw_curves(curves: Mapping[str, NDArray[np.float64]], title: str, path: Path) -> None:
    """Write a PNG of mean returns with 95 % bands.

    Args:
        curves: name -> returns (tasks, trials, episodes).
        title: above the picture.
        path: of the file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    colours = iter(COLOURS * len(curves))
    widths = iter((3.4, *(1.6,) * len(curves)))  # the first one is seen beneath another of equal values
    for name, curve in curves.items():
        flat = curve.reshape(-1, curve.shape[2])
        means, error = flat.mean(0), flat.std(0) / np.sqrt(len(flat))
        episodes = np.arange(1, curve.shape[2] + 1)
        colour, style = MUTED.get(name) or (next(colours), "-")
        axes.plot(episodes, means, style, color=colour, linewidth=1.4 if name in MUTED else next(widths))
        if name != ORACLE:
            low, high = means - NORMAL_95 * error, means + NORMAL_95 * error
            axes.fill_between(episodes, low, high, color=colour, alpha=0.15, linewidth=0)
    _label_ends(axes, curves)
    axes.set_xlabel("episode of the trial (weights never change)")
    axes.set_ylabel("return")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlim(1, max(curve.shape[2] for curve in curves.values()))
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e2e8f0", linewidth=0.8)
    save_figure(figure, path, dpi=150)


def _label_ends(axes: "object", curves: Mapping[str, NDArray[np.float64]]) -> None:
    """A legend in the order of the curves' ends, so that eyes need not jump."""
    lines = axes.get_lines()  # type: ignore[attr-defined]
    order = sorted(range(len(curves)), key=lambda i: -float(list(curves.values())[i][:, :, -1].mean()))
    names = list(curves)
    axes.legend(  # type: ignore[attr-defined]
        [lines[i] for i in order],
        [names[i] for i in order],
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )
