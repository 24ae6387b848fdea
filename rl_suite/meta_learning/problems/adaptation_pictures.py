"""Pictures of what a few gradient steps do."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rl_suite.errors import NonFiniteError
from rl_suite.meta_learning.data.sinusoid import INPUTS
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.metrics import mean_interval
from rl_suite.meta_learning.session import Learner, Score
from rl_suite.meta_learning.tasks import Task, Tasks, unstack_tasks
from rl_suite.viz.saving import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUERIES, CELL = 3, 0.6  # queries drawn of each class; inches of a picture
GIVEN, RIGHT, WRONG = "#94a3b8", "#16a34a", "#dc2626"
COLOURS = ("#94a3b8", "#60a5fa", "#1d4ed8")  # few steps to many


def draw_adaptation(learner: MAML, tasks: Tasks, score: Score, what: str, path: Path, steps: int) -> None:
    """The score against inner steps, mean over tasks with its interval; as far as it stays finite."""
    from matplotlib.figure import Figure

    while steps > 0:
        try:
            along = learner.outputs_along(tasks, steps)
            break
        except NonFiniteError:
            steps -= 1
    else:
        return
    scores = [
        [float(score(output, task)) for output, task in zip(outputs, unstack_tasks(tasks), strict=True)]
        for outputs in zip(*along, strict=True)
    ]
    intervals = np.array([mean_interval(row) for row in scores])  # (steps + 1, 3)
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(range(steps + 1), intervals[:, 1], intervals[:, 2], color="#bfdbfe", linewidth=0)
    axes.plot(range(steps + 1), intervals[:, 0], color="#1d4ed8", marker="o", markersize=3)
    axes.axvline(learner.num_inner_steps, color="#94a3b8", linewidth=0.8, linestyle=":")
    axes.set(xlabel="inner steps (dotted: as many as in training)", ylabel=f"{what}, {len(along)} held-out tasks")
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path, dpi=150)


def draw_fits(learner: MAML, tasks: Sequence[Task], path: Path, steps: Sequence[int]) -> None:
    """Curves of one input: the points that are given, and the network after some inner steps."""
    from matplotlib.figure import Figure

    x = torch.linspace(*INPUTS, 200)[:, None]
    figure = Figure(figsize=(10, 5), layout="constrained")
    for axes, task in zip(figure.subplots(2, 3, sharex=True).ravel(), tasks, strict=False):
        for colour, k in zip(COLOURS, steps, strict=False):
            weights = learner.adapt_to_task(task.support_x, task.support_y, k, differentiable=False)
            with torch.no_grad():
                axes.plot(x, learner.forward_with(x, weights, k), color=colour, label=f"after {k} steps")
        axes.plot(task.query_x, task.query_y, ".", color="#cbd5e1", markersize=5, label="asked")
        axes.plot(task.support_x, task.support_y, "o", color="#dc2626", markersize=4, label="given")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    save_figure(figure, path, dpi=120)


def draw_answers(learner: Learner, tasks: Sequence[Task], path: Path) -> None:
    """One column per class: its support picture above, queries below with a frame that says right or wrong."""
    from matplotlib.figure import Figure

    n = int(tasks[0].support_y.max()) + 1
    queries = min(QUERIES, int((tasks[0].query_y == 0).sum()))
    figure = Figure(figsize=(CELL * n * len(tasks), CELL * (queries + 1) + 0.3), layout="constrained")
    for box, task in zip(figure.subfigures(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        answers = learner.outputs([task])[0].argmax(-1)
        box.suptitle(f"{float((answers == task.query_y).double().mean()):.0%} right", fontsize=9)
        cells = box.subplots(queries + 1, n, squeeze=False)
        for c in range(n):
            column = [task.support_x[task.support_y == c][0], *task.query_x[task.query_y == c][:queries]]
            given = [c, *answers[task.query_y == c][:queries].tolist()]
            for row, (image, answer) in enumerate(zip(column, given, strict=True)):
                colour = GIVEN if row == 0 else RIGHT if answer == c else WRONG
                _show(cells[row, c], image, colour)
    save_figure(figure, path, dpi=130)


def _show(axes: "Axes", image: Tensor, colour: str) -> None:
    grey = len(image) == 1
    pixels = (image[0] if grey else image.permute(1, 2, 0)).numpy()
    axes.imshow(pixels, cmap="gray_r" if grey else None, vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=1.6)
