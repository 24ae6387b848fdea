"""Pictures of what a few gradient steps do."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rl_suite.errors import NonFiniteError
from rl_suite.meta_learning.data.sinusoid import INPUTS
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.metrics import mean_interval
from rl_suite.meta_learning.session import Score
from rl_suite.meta_learning.tasks import Task, Tasks, unstack_tasks
from rl_suite.viz.saving import save_figure

if TYPE_CHECKING:
    pass

WIDE = 5.0  # ratio of the largest to the smallest mean from which the axis is logarithmic
COLOURS = ("#94a3b8", "#60a5fa", "#1d4ed8")  # few steps to many


def draw_adaptation(learner: MAML, tasks: Tasks, score: Score, what: str, path: Path, steps: int) -> None:
    """The score against inner steps, mean over tasks with its interval; as far as it stays finite."""
    from matplotlib.figure import Figure

    while steps > 0:
        try:
            along = learner.outputs_along(tasks, steps)
        except NonFiniteError:
            steps -= 1
            continue
        scores = _scores(along, tasks, score)
        if np.isfinite(scores).all():
            break
        steps -= 1
    else:
        return
    intervals = np.array([mean_interval(row) for row in scores])  # (steps + 1, 3)
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(range(steps + 1), intervals[:, 1], intervals[:, 2], color="#bfdbfe", linewidth=0)
    axes.plot(range(steps + 1), intervals[:, 0], color="#1d4ed8", marker="o", markersize=3)
    axes.axvline(learner.num_inner_steps, color="#94a3b8", linewidth=0.8, linestyle=":")
    axes.set(xlabel="inner steps (dotted: as many as in training)", ylabel=f"{what}, {len(along)} held-out tasks")
    if intervals[:, 1].min() > 0 and intervals[:, 0].max() > WIDE * intervals[:, 0].min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(axis="y", color="#e2e8f0", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path, dpi=150)


def _scores(along: Sequence[Sequence[torch.Tensor]], tasks: Tasks, score: Score) -> list[list[float]]:
    """A row of scores for each number of inner steps, out of the outputs of every task after each of them."""
    return [
        [float(score(output, task)) for output, task in zip(outputs, unstack_tasks(tasks), strict=True)]
        for outputs in zip(*along, strict=True)
    ]


def draw_fits(learner: MAML, tasks: Sequence[Task], path: Path, steps: Sequence[int]) -> None:
    """Curves of one input: the points that are given, and the network after some inner steps."""
    from matplotlib.figure import Figure

    x = torch.linspace(*INPUTS, 200)[:, None]
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    cells = figure.subplots(2, 3, sharex=True)
    for axes, task in zip(cells.ravel(), tasks, strict=False):
        for colour, k in zip(COLOURS, steps, strict=False):
            try:
                weights = learner.adapt_to_task(task.support_x, task.support_y, k, differentiable=False)
            except NonFiniteError:  # so many steps diverge, as the report says
                continue
            name = f"after {k} step{'s' if k > 1 else ''}" if k else "unadapted"
            with torch.no_grad():
                axes.plot(x, learner.forward_with(x, weights, k), color=colour, label=name, linewidth=1.5)
        axes.plot(task.query_x, task.query_y, "o", color="#0f172a", markersize=4, markerfacecolor="none", label="asked")
        axes.plot(task.support_x, task.support_y, "o", color="#dc2626", markersize=4, label="given")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in cells[:, 0]:
        axes.set_ylabel("y")
    for axes in cells[-1]:
        axes.set_xlabel("x")
    handles = {name: h for axes in figure.axes for h, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=5, frameon=False)
    save_figure(figure, path, dpi=120)
