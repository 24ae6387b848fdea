"""A trajectory beside the one that its laws make: against time, and as a phase portrait with the field of the laws."""

from typing import TYPE_CHECKING

import numpy as np

from rl_suite.symbolic.dynamics.system import Followed, System, derivatives
from rl_suite.symbolic.dynamics.weak import Trajectory
from rl_suite.symbolic.output.figures import BLUE, GREY, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARROWS = 16  # of the field, along each axis
MOST_STATES = 4  # that are drawn against time


def system_figure(trajectory: Trajectory, system: System, followed: Followed) -> "Figure":
    """States against time on the left, the first two (or three) states against each other on the right."""
    from matplotlib.figure import Figure

    d = min(len(system.names), MOST_STATES)
    figure = Figure(figsize=(12.0, 1.2 + 1.5 * max(d, 2)), layout="constrained")
    grid = figure.add_gridspec(d, 2, width_ratios=(3, 2))
    axes = [figure.add_subplot(grid[i, 0]) for i in range(d)]
    right = figure.add_subplot(grid[:, 1])
    for i, (own, name) in enumerate(zip(axes, system.names, strict=False)):
        own.plot(trajectory.t, trajectory.X[:, i], ".", color=BLUE, markersize=3, label="data")
        own.plot(trajectory.t, followed.simulated[:, i], color=RED, linewidth=1.2, label="laws, integrated")
        own.set_ylabel(name)
        low, high = trajectory.X[:, i].min(), trajectory.X[:, i].max()
        own.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    axes[0].legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    axes[-1].set_xlabel("time")
    if len(system.names) >= 2:
        _portrait(right, trajectory, system, followed)
    else:
        _slope(right, trajectory, system)
    return figure


def _portrait(axes: "Axes", trajectory: Trajectory, system: System, followed: Followed) -> None:
    """The first two states, and for two of them the directions of the laws."""
    X = trajectory.X
    axes.plot(X[:, 0], X[:, 1], ".", color=BLUE, markersize=3)
    if len(system.names) == 2:
        x, y = (np.linspace(column.min(), column.max(), ARROWS) for column in X.T)
        grid = np.column_stack([values.ravel() for values in np.meshgrid(x, y)])
        spread = X.std(axis=0)
        field = derivatives(system.laws, grid) / spread
        field = field / np.maximum(np.sqrt((field**2).sum(axis=1, keepdims=True)), 1e-300) * spread
        kept = np.isfinite(field).all(axis=1)
        axes.quiver(*grid[kept].T, *field[kept].T, color=GREY, alpha=0.45, angles="xy", width=0.003)
    axes.plot(followed.simulated[:, 0], followed.simulated[:, 1], color=RED, linewidth=1.2)
    axes.set(xlabel=system.names[0], ylabel=system.names[1], title="phase portrait")


def _slope(axes: "Axes", trajectory: Trajectory, system: System) -> None:
    """dx/dt against the only state."""
    x = np.linspace(trajectory.X.min(), trajectory.X.max(), 200)[:, None]
    axes.plot(x[:, 0], derivatives(system.laws, x)[:, 0], color=RED)
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.set(xlabel=system.names[0], ylabel=f"d{system.names[0]}/dt")
