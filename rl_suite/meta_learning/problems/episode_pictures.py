"""A picture of some episodes: what was given, what was asked, and which answers are wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rl_suite.meta_learning.session import Outputs
from rl_suite.meta_learning.tasks import Task
from rl_suite.viz.saving import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

EPISODES, QUERIES = 3, 3  # drawn; of each class
INK, RIGHT, WRONG, QUIET = "#1e293b", "#16a34a", "#dc2626", "#94a3b8"


def draw_episodes(outputs: Outputs, tasks: Sequence[Task], path: Path) -> None:
    """One column per class: its support picture above, queries below with a frame that says right or wrong.

    Under a wrong one stands the number of the class that was chosen.
    """
    from matplotlib.figure import Figure

    n_way = max(int(task.support_y.max()) + 1 for task in tasks)
    queries = min(QUERIES, *(int((task.query_y == 0).sum()) for task in tasks))
    size = min(16, 1 + len(tasks) * n_way * 0.62), 0.8 * (queries + 1) + 0.5
    figure = Figure(figsize=size, layout="constrained")
    boxes = figure.subfigures(1, len(tasks), wspace=0.06, squeeze=False)[0]
    for number, (box, task, scores) in enumerate(zip(boxes, tasks, outputs(list(tasks)), strict=True)):
        _draw_episode(box, number, task, scores[:, :n_way].argmax(-1), queries)
    save_figure(figure, path, dpi=110)


def _draw_episode(box: "SubFigure", number: int, task: Task, answers: Tensor, queries: int) -> None:
    n_way = int(task.support_y.max()) + 1
    cells = box.subplots(queries + 1, n_way, squeeze=False)
    right = float((answers == task.query_y).double().mean())
    box.suptitle(f"episode {number}: {right:.0%} of {len(answers)} queries right", fontsize=9, color=INK)
    for c in range(n_way):
        _show(cells[0, c], task.support_x[task.support_y == c][0], QUIET)
        cells[0, c].set_title(str(c + 1), fontsize=8, color=INK)
        members = task.query_y == c
        asked = zip(task.query_x[members], answers[members].tolist(), strict=True)
        for axes, (image, chosen) in zip(cells[1:, c], asked, strict=False):
            _show(axes, image, RIGHT if chosen == c else WRONG)
            if chosen != c:
                axes.set_xlabel(str(chosen + 1), fontsize=8, color=WRONG, labelpad=1)


def _show(axes: "Axes", image: Tensor, frame: str) -> None:
    pixels = torch.as_tensor(image).float()
    if len(pixels) == 1:
        axes.imshow(1 - pixels[0].numpy(), cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(pixels.permute(1, 2, 0).numpy())
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=frame, linewidth=1.5)
