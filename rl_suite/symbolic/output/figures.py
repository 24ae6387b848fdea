"""One figure of a law: its fit, what it leaves, and the front it was chosen from."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.laws.polish import Finished

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = NDArray[np.float64]
BLUE, RED, GREY = "#0072b2", "#d55e00", "#64748b"  # Okabe and Ito (2008)
MOST_POINTS, CURVE_POINTS = 2000, 400
LEAST_ERROR = 1e-16  # an exact law has no place on a logarithmic axis


def law_figure(
    data: tuple[Values, Values, Values], names: Sequence[str], target: str, front: Sequence[Finished], chosen: Finished
) -> "Figure":
    """Fit, residuals and front, side by side; ``data``: X (n, d), y and the law's values (n,)."""
    from matplotlib.figure import Figure

    X, y, predicted = data
    figure = Figure(figsize=(12.0, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    rows = np.linspace(0, len(y) - 1, min(len(y), MOST_POINTS)).astype(np.int64)
    curve = None
    if X.shape[1] == 1 and len(chosen.laws) == 1:
        x = np.linspace(float(X.min()), float(X.max()), CURVE_POINTS)
        curve = x, chosen.law.predict(x[:, None])
    draw_fit(left, X[rows], y[rows], predicted[rows], (names, target), curve)
    middle.axhline(0.0, color=GREY, linewidth=0.8)
    middle.plot(predicted[rows], (y - predicted)[rows], ".", color=BLUE, markersize=4)
    middle.set(xlabel=f"{target} of the law", ylabel=f"{target} less the law's")
    draw_front(right, front, chosen)
    return figure


def draw_fit(
    axes: "Axes",
    X: Values,
    y: Values,
    predicted: Values,
    labels: tuple[Sequence[str], str],
    curve: tuple[Values, Values] | None = None,
) -> None:
    """Data and law against the only column (``curve``: the law between the rows), or against each other of several.

    ``labels`` are the names of the columns and of the target.
    """
    names, target = labels
    if X.shape[1] == 1:
        order = np.argsort(X[:, 0])
        x, values = (X[order, 0], predicted[order]) if curve is None else curve
        axes.plot(X[:, 0], y, ".", color=BLUE, markersize=4, label="data")
        axes.plot(x, values, color=RED, linewidth=1.4, label="law")
        axes.set(xlabel=names[0], ylabel=target)
        axes.legend(frameon=False)
        return
    ends = [float(np.nanmin([y, predicted])), float(np.nanmax([y, predicted]))]
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    axes.plot(predicted, y, ".", color=BLUE, markersize=4)
    axes.set(xlabel=f"{target} of the law", ylabel=f"{target} measured")


def draw_front(axes: "Axes", front: Sequence[Finished], chosen: Finished) -> None:
    """Error against complexity, with the chosen law marked."""
    laws = sorted([*front] if any(f is chosen for f in front) else [*front, chosen], key=lambda f: f.complexity)
    errors = [max(math.sqrt(f.nmse), LEAST_ERROR) for f in laws]
    axes.plot([f.complexity for f in laws], errors, "o", color=BLUE, markersize=4)
    least = np.minimum.accumulate(errors)  # simple laws that are always shown need not be on the front
    axes.step([f.complexity for f in laws], least, color=BLUE, linewidth=0.8, where="post")
    axes.plot([chosen.complexity], [max(math.sqrt(chosen.nmse), LEAST_ERROR)], "o", color=RED, markersize=8)
    axes.set_yscale("log")
    axes.set(xlabel="complexity", ylabel="error (NRMSE)")


def as_png(figure: "Figure") -> bytes:
    """The figure as a picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
