"""Some episodes: what was given, what was asked, and which answers are wrong; as a picture, and for the report."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from rl_suite.checkpoint import write_atomically
from rl_suite.meta_learning.session import Outputs
from rl_suite.meta_learning.tasks import Task
from rl_suite.report.replay import MOST_WAYS, FewShotEpisode, FewShotReplay, Question
from rl_suite.viz.saving import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

EPISODES, QUERIES = 3, 3  # drawn; of each class
LARGEST = 48  # pixels along a side of a picture in the report
INK, RIGHT, WRONG, QUIET = "#1e293b", "#16a34a", "#dc2626", "#94a3b8"


def show_episodes(outputs: Outputs, tasks: Sequence[Task], folder: Path) -> None:
    """Write ``episodes.png``, and ``replay.json`` with which the report shows the episodes question by question."""
    draw_episodes(outputs, tasks, folder / "episodes.png")
    if max(int(task.support_y.max()) for task in tasks) < MOST_WAYS:
        replay = replay_of(outputs, tasks)
        write_atomically(folder / "replay.json", replay.model_dump_json().encode())


def replay_of(outputs: Outputs, tasks: Sequence[Task]) -> FewShotReplay:
    """Episodes with the softmax of what was answered; the first support picture of each class stands for it."""
    channels: Literal[1, 3] = 1 if tasks[0].support_x.shape[1] == 1 else 3
    size = min(LARGEST, tasks[0].support_x.shape[-1])
    episodes = []
    for task, scores in zip(tasks, outputs(list(tasks)), strict=True):
        n_way = int(task.support_y.max()) + 1
        shares = scores[:, :n_way].double().softmax(-1)
        chosen = torch.cat([(task.query_y == c).nonzero()[:QUERIES, 0] for c in range(n_way)])
        episodes.append(
            FewShotEpisode(
                given=[_packed(task.support_x[task.support_y == c][0], size) for c in range(n_way)],
                questions=[
                    Question(
                        picture=_packed(task.query_x[q], size),
                        label=int(task.query_y[q]),
                        shares=[round(share, 4) for share in shares[q].tolist()],
                    )
                    for q in chosen.tolist()
                ],
            )
        )
    return FewShotReplay(about="episodes of unseen classes", size=size, channels=channels, episodes=episodes)


def _packed(image: Tensor, size: int) -> str:
    """A picture (C, H, W) as it is shown, (size, size, C) bytes in base64; ink is dark."""
    pixels = F.adaptive_avg_pool2d(torch.as_tensor(image).float(), (size, size))
    shown = 1 - pixels if len(pixels) == 1 else pixels
    return base64.b64encode(
        (255 * shown).round().clamp(0, 255).byte().movedim(0, -1).contiguous().numpy().tobytes()
    ).decode()


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
