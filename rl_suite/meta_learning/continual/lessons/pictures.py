"""Accuracy matrices as tiles, and what was left of the tasks while further ones were taught."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.meta_learning.continual.lessons.report import Result
from rl_suite.viz.saving import save_figure

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#db2777", "#0891b2", "#65a30d", "#dc2626")
MUTED = {"naive": ("#94a3b8", ":"), "joint": ("#334155", "--")}
TILES_PER_ROW = 5
BRIGHT = 0.45  # above this share of the scale a tile is dark, and its number white


def draw_sequence(title: str, what: str, results: Mapping[str, Result], path: Path) -> None:
    """Write a PNG: one tile plot per strategy, and below them the mean over the tasks seen so far.

    Args:
        title: kind of sequence.
        what: name of the entries, such as "accuracy".
        results: by strategy.
        path: of the file.
    """
    from matplotlib.figure import Figure

    rows = -(-len(results) // TILES_PER_ROW)
    figure = Figure(figsize=(10, 2.3 * rows + 3.0), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.3 * rows, 3.0])
    upper, lower = parts
    cells = upper.subplots(rows, min(TILES_PER_ROW, len(results)), squeeze=False).ravel()
    means = {name: result.matrices.mean(0) for name, result in results.items()}
    top = max(1.0, *(float(matrix.max()) for matrix in means.values()))
    for axes, (name, matrix) in zip(cells, means.items(), strict=False):
        _tiles(axes, name, matrix, top)
    for axes in cells[len(means) :]:
        axes.set_visible(False)
    upper.suptitle(f"{title}: {what} on each task (columns) after each task (rows)", x=0.01, ha="left", fontsize=10)
    _curves(lower.subplots(), what, results)
    save_figure(figure, path, dpi=130)


def _tiles(axes: Any, name: str, matrix: NDArray[np.float64], top: float) -> None:
    axes.imshow(matrix, vmin=0.0, vmax=top, cmap="Blues")
    for i, j in np.ndindex(*matrix.shape):
        value = matrix[i, j]
        colour = "white" if value > BRIGHT * top else "#334155" if j <= i else "#64748b"
        axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_title(name, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _curves(axes: Any, what: str, results: Mapping[str, Result]) -> None:
    """Mean over the tasks taught so far, with the band of all repeats."""
    colours = iter(COLOURS)
    for name, result in results.items():
        n = result.matrices.shape[1]
        seen = np.array([[R[i, : i + 1].mean() for i in range(n)] for R in result.matrices])  # (repeats, T)
        colour, style = MUTED.get(name) or (next(colours), "-")
        tasks = np.arange(1, n + 1)
        axes.plot(tasks, 100 * seen.mean(0), style, color=colour, label=name, linewidth=1.6)
        axes.fill_between(tasks, 100 * seen.min(0), 100 * seen.max(0), color=colour, alpha=0.08, linewidth=0)
    axes.set_xticks(tasks)
    axes.set_xlabel("tasks taught so far", fontsize=9)
    axes.set_ylabel(f"{what} on them, %", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e2e8f0", linewidth=0.8)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
